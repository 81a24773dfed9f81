"""Films that are there more than once, byte by byte, and what their labels say of each other."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from model.data.annotation_rows import shown
from model.data.examples import Example, overlap

_PIECE = 1 << 20  # bytes read at once
_MOST_NOTES = 5  # about films with two labels


def duplicates(examples: Iterable[Example]) -> list[tuple[Example, ...]]:
    """Groups of different paths with the same bytes, each path by the first of its examples.

    Only files of the same size are read. One that can't be, or is empty, is no copy of anything.
    """
    films: dict[Path, Example] = {}
    for one in sorted(examples, key=lambda one: one.order):
        films.setdefault(one.path, one)
    by_size: dict[int, list[Example]] = defaultdict(list)
    for path, one in films.items():
        try:
            by_size[path.stat().st_size].append(one)
        except (OSError, ValueError):  # ValueError: a name that no file can have
            continue
    by_bytes: dict[tuple[int, bytes], list[Example]] = defaultdict(list)
    for size, alike in by_size.items():
        for one in alike if size and len(alike) > 1 else ():
            digest = _digest(one.path)
            if digest is not None:
                by_bytes[size, digest].append(one)
    groups = [tuple(group) for group in by_bytes.values() if len(group) > 1]
    return sorted(groups, key=lambda group: group[0].order)


def copy_notes(
    examples: Sequence[Example], copies: Iterable[Sequence[Example]], name: Callable[[Path], str]
) -> list[str]:
    """What a person should know of copies among examples, and of one picture with two labels."""
    of_path: dict[Path, list[Example]] = defaultdict(list)
    for one in examples:
        of_path[one.path].append(one)
    notes: list[str] = []
    groups = [[one.path for one in group if one.path in of_path] for group in copies]
    groups = [group for group in groups if len(group) > 1]
    if groups:
        count = sum(len(group) - 1 for group in groups)
        are = "film is a copy of another" if count == 1 else "films are copies of others"
        notes.append(f"{count} {are}, such as {name(groups[0][1])} of {name(groups[0][0])}")
    odd = [pair for group in groups if (pair := _odd_copies(group, of_path))]
    odd += [pair for film in of_path.values() if (pair := _odd_stretches(film))]
    for first, second in odd[:_MOST_NOTES]:
        told = f"{shown(first.label)} in one, {shown(second.label)} in the other"
        if first.path == second.path:
            notes.append(f"{name(first.path)} has the same stretch twice: {told}")
        else:
            notes.append(f"{name(first.path)} and {name(second.path)} are the same film: {told}")
    if len(odd) > _MOST_NOTES:
        notes.append(f"{len(odd) - _MOST_NOTES} more films have two labels for the same pictures")
    return notes


def _odd_copies(
    group: Sequence[Path], of_path: Mapping[Path, Sequence[Example]]
) -> tuple[Example, Example] | None:
    """Two copies of which the same pictures are said to show different things."""
    for one, other in itertools.combinations(group, 2):
        for first, second in itertools.product(of_path[one], of_path[other]):
            if first.label != second.label and overlap(first.stretch, second.stretch):
                return first, second
    return None


def _odd_stretches(film: Sequence[Example]) -> tuple[Example, Example] | None:
    """The same stretch of one file with two labels. Stretches that overlap may well have two."""
    seen: dict[tuple[float, float], Example] = {}
    for one in film:
        first = seen.setdefault(one.stretch, one)
        if first.label != one.label:
            return first, one
    return None


def _digest(file: Path) -> bytes | None:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                digest.update(piece)
    except OSError:
        return None
    return digest.digest()
