"""Which examples are learnt from, and which are kept to see how well that went.

What was cut from one source never parts: else a model that knows a room by heart would seem to know
what happens in it.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

from model.data.annotation_rows import shown
from model.data.duplicates import copy_notes, duplicates
from model.data.examples import DataError, Example
from model.data.group_split import deal

_FEW = 5  # examples: with less there is little to learn from


@dataclass(frozen=True, slots=True)
class Splits:
    """Examples to learn from, and others to measure with."""

    train: tuple[Example, ...]
    val: tuple[Example, ...]
    notes: tuple[str, ...]  # what a person should know: too small classes, duplicates, leaks


def split(
    examples: Iterable[Example],
    *,
    share: float = 0.2,
    seed: int = 0,
    learnt: Callable[[Example], bool] = lambda example: False,
) -> Splits:
    """Part examples into those to learn from, and about `share` of each label to measure with.

    Splits that the data give are taken as they are; "test" stands in for "val" where there is none,
    and is left out else. Examples without a split among others that have one are learnt from,
    unless something of their source is kept. Where nothing is given to measure with, whole sources
    are kept, at least one of each label that has several. Copies of a film are of one source.
    What training begins with may have `learnt` from some of them: their sources are not kept.
    The same on every machine for the same data, share and seed.

    Raises DataError where there are not two labels to learn.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1, got {share}")
    known = sorted(examples, key=lambda one: one.order)
    _check_labels(known)
    copies = duplicates(known)
    units = _units(known, copies)
    notes: list[str] = []
    held = next((name for name in ("val", "test") if any(e.split == name for e in known)), "")
    train: list[Example] = []
    val: list[Example] = []
    if held:
        for unit in units:
            given = {one.split for one in unit}
            rest = val if held in given else train if "test" not in given else []
            sides = {"train": train, held: val, "": rest}
            for one in unit:
                sides.get(one.split, []).append(one)
        if old := sum(map(learnt, val)):
            notes.append(
                f"{old} of {len(val)} clips of {held} were learnt from before, by what training "
                "begins with: what is told of them will be too good"
            )
    else:
        given_count = sum(one.split == "train" for one in known)
        # A part of what is all for training is kept; but what is so among others stays there.
        some = 0 < given_count < len(known)
        old_units = [any(map(learnt, unit)) for unit in units]
        fixed = [
            is_old or (some and any(e.split for e in unit))
            for unit, is_old in zip(units, old_units, strict=True)
        ]
        if given_count == len(known):
            notes.append("the data keep nothing for validation; a part of their train is kept")
        kept = deal([Counter(e.label for e in unit) for unit in units], fixed, share, seed)
        for unit, is_kept in zip(units, kept, strict=True):
            (val if is_kept else train).extend(unit)
        if old := sum(len(unit) for unit, is_old in zip(units, old_units, strict=True) if is_old):
            notes.append(
                f"{old} of {len(known)} clips are of sources that were learnt from before, by what "
                "training begins with; they are not kept for validation"
            )
        fresh = [unit for unit, is_old in zip(units, old_units, strict=True) if not is_old]
        notes += _unkept(fresh, known, val)
    _check_labels(train, " to learn from")
    return _splits(train, val, copies, notes)


def related(examples: Iterable[Example]) -> tuple[list[list[Example]], list[str]]:
    """Examples by what they were cut from, copies together; and what to tell of copies."""
    known = sorted(examples, key=lambda one: one.order)
    copies = duplicates(known)
    return _units(known, copies), copy_notes(known, copies, _names(known))


def folds(
    examples: Iterable[Example], *, key: Callable[[Example], str]
) -> Iterator[tuple[str, Splits]]:
    """Leave one group out at a time, for benchmarks: its key, and all else to learn from.

    Splits that the data give don't count. Raises DataError where there are no two groups, or too
    few labels outside of one.
    """
    groups: dict[str, list[Example]] = defaultdict(list)
    for one in sorted(examples, key=lambda one: one.order):
        groups[key(one)].append(one)
    if len(groups) < 2:
        raise DataError(f"leaving one group out needs at least two groups, got {len(groups)}")
    every = [one for group in groups.values() for one in group]
    return _folds(groups, duplicates(every))


def _folds(
    groups: dict[str, list[Example]], copies: Sequence[tuple[Example, ...]]
) -> Iterator[tuple[str, Splits]]:
    for name in sorted(groups):
        train = [one for other, group in groups.items() if other != name for one in group]
        _check_labels(train, f" outside of {shown(name)}")
        yield name, _splits(train, groups[name], copies, [])


def _check_labels(examples: Sequence[Example], where: str = "") -> None:
    labels = sorted({one.label for one in examples})
    if not labels:
        raise DataError(f"there are no examples{where}")
    if len(labels) == 1:
        raise DataError(
            f"there is only the label {shown(labels[0])}{where}, but learning needs at least two "
            "labels; add a folder of clips that show something else"
        )


def _units(
    examples: Sequence[Example], copies: Sequence[tuple[Example, ...]]
) -> list[list[Example]]:
    """Examples by what they were cut from, sorted by it; a film and its copies are of one."""
    above: dict[str, str] = {}

    def root(source: str) -> str:
        while above.setdefault(source, source) != source:
            above[source] = above[above[source]]
            source = above[source]
        return source

    of_path: dict[object, set[str]] = defaultdict(set)
    for one in examples:
        of_path[one.path].add(source_of(one))
    alike = [{source for one in group for source in of_path[one.path]} for group in copies]
    for sources in (*of_path.values(), *alike):
        first, *others = sorted(sources)
        for other in others:
            low, high = sorted((root(first), root(other)))
            above[high] = low
    units: dict[str, list[Example]] = defaultdict(list)
    for one in examples:
        units[root(source_of(one))].append(one)
    return [units[source] for source in sorted(units)]


def source_of(example: Example) -> str:
    """What an example was cut from."""
    return example.source or example.path.as_posix()


def _unkept(
    fresh: Sequence[Sequence[Example]], known: Iterable[Example], val: Iterable[Example]
) -> list[str]:
    """A note for each label of which nothing could be kept. `fresh` is what might have been."""
    sources = Counter(label for unit in fresh for label in {one.label for one in unit})
    reasons = {0: "was learnt from before, all of it", 1: "has one source only"}
    return [
        f"label {shown(label)} {reasons.get(sources[label], 'shares its sources with others')}: "
        "nothing of it can be kept for validation"
        for label in sorted({one.label for one in known} - {one.label for one in val})
    ]


def _splits(
    train: Sequence[Example],
    val: Sequence[Example],
    copies: Sequence[tuple[Example, ...]],
    notes: Sequence[str],
) -> Splits:
    train = sorted(train, key=lambda one: one.order)
    val = sorted(val, key=lambda one: one.order)
    both = [*train, *val]
    name = _names(both)
    notes = [*notes, *_few(both), *_leaks(train, val, copies, name)]
    notes += copy_notes(both, copies, name)
    return Splits(tuple(train), tuple(val), tuple(notes))


def _few(examples: Sequence[Example]) -> list[str]:
    counts = Counter(one.label for one in examples)
    few = [f"{shown(label)} ({counts[label]})" for label in sorted(counts) if counts[label] < _FEW]
    if not few:
        return []
    more = f" and {len(few) - 10} more" if len(few) > 10 else ""
    return [
        f"labels with fewer than {_FEW} examples can hardly be learnt: {', '.join(few[:10])}{more}"
    ]


def _leaks(
    train: Sequence[Example],
    val: Sequence[Example],
    copies: Sequence[tuple[Example, ...]],
    name: Callable[[Path], str],
) -> list[str]:
    """What a model has seen of that by which it is measured; only where the data part it so."""
    learnt, sources = {one.path for one in train}, {source_of(one) for one in train}
    alike = {one.path: [other.path for other in group] for group in copies for one in group}
    same: dict[Path, Path] = {}
    kin: dict[Path, str] = {}
    for one in val:
        twin = next((path for path in alike.get(one.path, [one.path]) if path in learnt), None)
        if twin is not None:
            same[one.path] = twin
        elif source_of(one) in sources:
            kin[one.path] = source_of(one)
    notes = []
    if same:
        film, twin = next(iter(same.items()))
        as_what = f" (as {name(twin)})" if twin != film else ""
        notes.append(f"{_films(same)} of val are also in train, such as {name(film)}{as_what}")
    if kin:
        film, source = next(iter(kin.items()))
        notes.append(
            f"{_films(kin)} of val are cut from what is also in train, such as {name(film)} from "
            f"source {shown(source)}"
        )
    return notes


def _films(found: Sized) -> str:
    return f"{len(found)} film{'s' * (len(found) != 1)}"


def _names(examples: Sequence[Example]) -> Callable[[Path], str]:
    """Short names for a person: paths within the folder that all films lie in."""
    try:
        common = os.path.commonpath({one.path.parent for one in examples})
    except ValueError:  # none, or some on another disk
        return shown
    return lambda path: shown(path.relative_to(common).as_posix())
