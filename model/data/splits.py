"""Splits examples into training and validation sets.

Examples of one source never go to both: a model that memorized a room would appear to recognize
the actions in it.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.data.duplicates import duplicate_notes, duplicates
from model.data.examples import DataError, Example
from model.data.group_split import stratified_group_split
from stream.runtime.errors import printable

_MIN_EXAMPLES = 5  # per label; fewer get a note


@dataclass(frozen=True, slots=True)
class Splits:
    """Training and validation examples."""

    train: tuple[Example, ...]
    val: tuple[Example, ...]
    notes: tuple[str, ...]  # warnings for a person: rare labels, duplicates, leaks


def split(
    examples: Iterable[Example],
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    was_trained_on: Callable[[Example], bool] = lambda example: False,
) -> Splits:
    """Split examples; about `val_fraction` of each label go to validation.

    Splits given by the data are used unchanged; "test" replaces a missing "val", and is dropped
    otherwise. If only some examples have a split, the others go to training, or to validation if
    their source is there. Without a given validation split, whole sources are held out, at least
    one of each label that has several. Copies of a video count as one source. Sources of examples
    that the initial checkpoint `was_trained_on` are not held out.
    The result is the same on every machine for the same data, fraction and seed.

    Raises DataError if there are fewer than two labels for training.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must be between 0 and 1, got {val_fraction}")
    known = sorted(examples, key=lambda one: one.order)
    _check_labels(known)
    copies = duplicates(known)
    groups = _source_groups(known, copies)
    notes: list[str] = []
    given_val = next((name for name in ("val", "test") if any(e.split == name for e in known)), "")
    train: list[Example] = []
    val: list[Example] = []
    if given_val:
        for group in groups:
            given = {one.split for one in group}
            rest = val if given_val in given else train if "test" not in given else []
            sides = {"train": train, given_val: val, "": rest}
            for one in group:
                sides.get(one.split, []).append(one)
        if old := sum(map(was_trained_on, val)):
            notes.append(
                f"the initial checkpoint was trained on {old} of {len(val)} {given_val} clips: "
                "their accuracy will be too high"
            )
    else:
        train_count = sum(one.split == "train" for one in known)
        # If all examples are "train", some are held out; if only some are, those stay there.
        some_given = 0 < train_count < len(known)
        old_groups = [any(map(was_trained_on, group)) for group in groups]
        fixed = [
            is_old or (some_given and any(e.split for e in group))
            for group, is_old in zip(groups, old_groups, strict=True)
        ]
        if train_count == len(known):
            notes.append("the data has no validation split; part of its train split is held out")
        held_out = stratified_group_split(
            [Counter(e.label for e in group) for group in groups], fixed, val_fraction, seed
        )
        for group, is_val in zip(groups, held_out, strict=True):
            (val if is_val else train).extend(group)
        if old := sum(len(g) for g, is_old in zip(groups, old_groups, strict=True) if is_old):
            notes.append(
                f"{old} of {len(known)} clips are from sources that the initial checkpoint was "
                "trained on; they are not used for validation"
            )
        new_groups = [group for group, is_old in zip(groups, old_groups, strict=True) if not is_old]
        notes += _missing_label_notes(new_groups, known, val)
    _check_labels(train, " for training")
    return _splits(train, val, copies, notes)


def group_by_source(examples: Iterable[Example]) -> tuple[list[list[Example]], list[str]]:
    """Examples grouped by source, copies in one group; and notes about the copies."""
    known = sorted(examples, key=lambda one: one.order)
    copies = duplicates(known)
    return _source_groups(known, copies), duplicate_notes(known, copies, _short_names(known))


def leave_one_group_out(
    examples: Iterable[Example], *, key: Callable[[Example], str]
) -> Iterator[tuple[str, Splits]]:
    """For benchmarks: each group's key, and the split with this group as validation.

    Ignores splits given by the data. Raises DataError if there are fewer than two groups, or fewer
    than two labels outside of one.
    """
    groups: dict[str, list[Example]] = defaultdict(list)
    for one in sorted(examples, key=lambda one: one.order):
        groups[key(one)].append(one)
    if len(groups) < 2:
        raise DataError(f"leaving one group out needs at least two groups, got {len(groups)}")
    copies = duplicates(one for group in groups.values() for one in group)
    for name in sorted(groups):
        train = [one for other, group in groups.items() if other != name for one in group]
        _check_labels(train, f" outside of {printable(name)}")
        yield name, _splits(train, groups[name], copies, [])


def _check_labels(examples: Sequence[Example], where: str = "") -> None:
    labels = sorted({one.label for one in examples})
    if not labels:
        raise DataError(f"there are no examples{where}")
    if len(labels) == 1:
        raise DataError(
            f"there is only the label {printable(labels[0])}{where}, but training needs at least "
            "two labels; add a folder of clips with another label"
        )


def _source_groups(
    examples: Sequence[Example], copies: Sequence[tuple[Example, ...]]
) -> list[list[Example]]:
    """Examples grouped by source, sorted by it; sources that share a video or copy are merged."""
    parents: dict[str, str] = {}  # union-find over sources

    def root(source: str) -> str:
        while parents.setdefault(source, source) != source:
            parents[source] = parents[parents[source]]
            source = parents[source]
        return source

    by_path: dict[object, set[str]] = defaultdict(set)
    for one in examples:
        by_path[one.path].add(source_of(one))
    by_copy = [{source for one in group for source in by_path[one.path]} for group in copies]
    for sources in (*by_path.values(), *by_copy):
        first, *others = sorted(sources)
        for other in others:
            low, high = sorted((root(first), root(other)))
            parents[high] = low
    groups: dict[str, list[Example]] = defaultdict(list)
    for one in examples:
        groups[root(source_of(one))].append(one)
    return [groups[source] for source in sorted(groups)]


def source_of(example: Example) -> str:
    """The recording that an example was cut from; without one, its own path."""
    return example.source or example.path.as_posix()


def _missing_label_notes(
    new_groups: Sequence[Sequence[Example]], known: Iterable[Example], val: Iterable[Example]
) -> list[str]:
    """A note for each label without validation examples. `new_groups` could be held out."""
    sources = Counter(label for group in new_groups for label in {one.label for one in group})
    reasons = {0: "was all in the initial checkpoint's training data", 1: "has only one source"}
    return [
        f"label {printable(label)} "
        f"{reasons.get(sources[label], 'shares its sources with other labels')}: "
        "it has no validation clips"
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
    name = _short_names(both)
    notes = [*notes, *_rare_label_notes(both), *_leak_notes(train, val, copies, name)]
    notes += duplicate_notes(both, copies, name)
    return Splits(tuple(train), tuple(val), tuple(notes))


def _rare_label_notes(examples: Sequence[Example]) -> list[str]:
    counts = Counter(one.label for one in examples)
    rare = [
        f"{printable(label)} ({counts[label]})"
        for label in sorted(counts)
        if counts[label] < _MIN_EXAMPLES
    ]
    if not rare:
        return []
    more = f" and {len(rare) - 10} more" if len(rare) > 10 else ""
    return [
        f"labels with fewer than {_MIN_EXAMPLES} examples can hardly be learned: "
        f"{', '.join(rare[:10])}{more}"
    ]


def _leak_notes(
    train: Sequence[Example],
    val: Sequence[Example],
    copies: Sequence[tuple[Example, ...]],
    name: Callable[[Path], str],
) -> list[str]:
    """Notes about videos and sources in both sets, which happens only if the data says so."""
    train_paths, train_sources = {one.path for one in train}, {source_of(one) for one in train}
    copies_of = {one.path: [other.path for other in group] for group in copies for one in group}
    same_video: dict[Path, Path] = {}
    same_source: dict[Path, str] = {}
    for one in val:
        paths = copies_of.get(one.path, [one.path])
        copy = next((path for path in paths if path in train_paths), None)
        if copy is not None:
            same_video[one.path] = copy
        elif source_of(one) in train_sources:
            same_source[one.path] = source_of(one)
    notes = []
    if same_video:
        video, copy = next(iter(same_video.items()))
        as_copy = f" (as {name(copy)})" if copy != video else ""
        notes.append(
            f"videos in both val and train: {len(same_video)}, such as {name(video)}{as_copy}"
        )
    if same_source:
        video, source = next(iter(same_source.items()))
        notes.append(
            f"val videos with a source that is also in train: {len(same_source)}, such as "
            f"{name(video)} from source {printable(source)}"
        )
    return notes


def _short_names(examples: Sequence[Example]) -> Callable[[Path], str]:
    """Short names for a person: paths relative to the common folder of all videos."""
    try:
        common = os.path.commonpath({one.path.parent for one in examples})
    except ValueError:  # no examples, or several disks
        return printable
    return lambda path: printable(path.relative_to(common).as_posix())
