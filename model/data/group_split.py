"""Whole sources dealt out so that about the same share of each label is kept. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

_TRIES = 100
_STEPS = 200_000  # sources looked at in all tries; with many, any order comes near


def deal(
    sources: Sequence[Mapping[str, int]], fixed: Sequence[bool], share: float, seed: int
) -> list[bool]:
    """Which of the sources are kept for validation, where each counts its examples by label.

    What is `fixed` is not kept. Of each label something stays to learn from, and something is kept
    where it has several sources; so many that the share of each label is as near as can be.
    Sources are tried in several random orders, and once with the largest first.
    """
    rng = np.random.default_rng(seed)
    tries = max(1, min(_TRIES, _STEPS // max(1, len(sources))))
    orders: list[list[int]] = [rng.permutation(len(sources)).tolist() for _ in range(tries)]
    # What is large fits in early or not at all. Sorting is stable: equals stay shuffled.
    orders.append(sorted(orders[0], key=lambda index: -sum(sources[index].values())))
    dealt = [
        _deal(sources, [index for index in order if not fixed[index]], share) for order in orders
    ]
    _, kept = min(dealt, key=lambda one: one[0])
    return [index in kept for index in range(len(sources))]


def _deal(
    sources: Sequence[Mapping[str, int]], order: Sequence[int], share: float
) -> tuple[tuple[int, float], set[int]]:
    """Greedily in that order: how far from what is wanted that comes, and what is kept."""
    every, left = Counter[str](), Counter[str]()  # examples and sources of each label
    for source in sources:
        every.update(source)
        left.update(source.keys())
    kept_of = Counter[str]()  # examples
    kept: set[int] = set()

    def off(label: str, count: int) -> float:
        return (count / every[label] - share) ** 2

    def gain(index: int) -> float:
        """By how much more is off if this is kept, too; below 0 if less."""
        return sum(
            off(label, kept_of[label] + count) - off(label, kept_of[label])
            for label, count in sources[index].items()
        )

    def keep(index: int) -> None:
        kept.add(index)
        kept_of.update(sources[index])
        left.subtract(sources[index].keys())

    def may(index: int) -> bool:
        return index not in kept and all(left[label] > 1 for label in sources[index])

    for index in order:
        if may(index) and gain(index) < 0:
            keep(index)
    for label in sorted(every):
        possible = (
            [i for i in order if label in sources[i] and may(i)] if not kept_of[label] else []
        )
        if possible:
            keep(min(possible, key=gain))
    unkept = sum(not kept_of[label] for label in every)
    return (unkept, sum(off(label, kept_of[label]) for label in sorted(every))), kept
