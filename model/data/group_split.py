"""A stratified split of whole sources: each label has about the same fraction in validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

_MAX_TRIES = 100
_MAX_STEPS = 200_000  # sources visited in all tries; with many sources any order is good


def stratified_group_split(
    sources: Sequence[Mapping[str, int]], fixed: Sequence[bool], val_fraction: float, seed: int
) -> list[bool]:
    """Whether each source goes to validation; a source is its number of examples by label.

    `fixed` sources stay in training. Each label keeps a source in training, and gets one in
    validation if it has several. Each label's validation fraction is as close to `val_fraction` as
    a greedy search finds, over several random orders and one with the largest sources first.
    """
    rng = np.random.default_rng(seed)
    tries = max(1, min(_MAX_TRIES, _MAX_STEPS // max(1, len(sources))))
    orders: list[list[int]] = [rng.permutation(len(sources)).tolist() for _ in range(tries)]
    # Large sources fit early or not at all. The sort is stable: equal sizes stay shuffled.
    orders.append(sorted(orders[0], key=lambda index: -sum(sources[index].values())))
    candidates = [
        _greedy_split(sources, [index for index in order if not fixed[index]], val_fraction)
        for order in orders
    ]
    _, val = min(candidates, key=lambda one: one[0])
    return [index in val for index in range(len(sources))]


def _greedy_split(
    sources: Sequence[Mapping[str, int]], order: Sequence[int], val_fraction: float
) -> tuple[tuple[int, float], set[int]]:
    """The cost (labels without validation, squared error) and the validation sources."""
    totals, train_sources = Counter[str](), Counter[str]()  # examples and sources per label
    for source in sources:
        totals.update(source)
        train_sources.update(source.keys())
    val_counts = Counter[str]()  # examples per label
    val: set[int] = set()

    def error(label: str, count: int) -> float:
        return (count / totals[label] - val_fraction) ** 2

    def cost_change(index: int) -> float:
        """By how much the error changes if this source is added; negative is better."""
        return sum(
            error(label, val_counts[label] + count) - error(label, val_counts[label])
            for label, count in sources[index].items()
        )

    def add(index: int) -> None:
        val.add(index)
        val_counts.update(sources[index])
        train_sources.subtract(sources[index].keys())

    def can_add(index: int) -> bool:
        return index not in val and all(train_sources[label] > 1 for label in sources[index])

    for index in order:
        if can_add(index) and cost_change(index) < 0:
            add(index)
    for label in sorted(totals):
        possible = (
            [i for i in order if label in sources[i] and can_add(i)]
            if not val_counts[label]
            else []
        )
        if possible:
            add(min(possible, key=cost_change))
    missing = sum(not val_counts[label] for label in totals)
    return (missing, sum(error(label, val_counts[label]) for label in sorted(totals))), val
