"""Finds byte-identical videos, and videos or segments with contradicting labels."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from model.data.examples import Example, overlap
from stream.runtime.errors import printable

_CHUNK_BYTES = 1 << 20
_MAX_NOTES = 5  # about videos with two labels


def duplicates(examples: Iterable[Example]) -> list[tuple[Example, ...]]:
    """Groups of different paths with the same bytes; each path by the first of its examples.

    Only files of the same size are read. Empty and unreadable files are never duplicates.
    """
    videos: dict[Path, Example] = {}
    for one in sorted(examples, key=lambda one: one.order):
        videos.setdefault(one.path, one)
    by_size: dict[int, list[Example]] = defaultdict(list)
    for path, one in videos.items():
        try:
            by_size[path.stat().st_size].append(one)
        except (OSError, ValueError):  # ValueError: an invalid file name
            continue
    by_bytes: dict[tuple[int, bytes], list[Example]] = defaultdict(list)
    for size, same_size in by_size.items():
        for one in same_size if size and len(same_size) > 1 else ():
            digest = _digest(one.path)
            if digest is not None:
                by_bytes[size, digest].append(one)
    groups = [tuple(group) for group in by_bytes.values() if len(group) > 1]
    return sorted(groups, key=lambda group: group[0].order)


def duplicate_notes(
    examples: Sequence[Example], copies: Iterable[Sequence[Example]], name: Callable[[Path], str]
) -> list[str]:
    """Lines for a person about copies among the examples, and about frames with two labels."""
    by_path: dict[Path, list[Example]] = defaultdict(list)
    for one in examples:
        by_path[one.path].append(one)
    notes: list[str] = []
    groups = [[one.path for one in group if one.path in by_path] for group in copies]
    groups = [group for group in groups if len(group) > 1]
    if groups:
        count = sum(len(group) - 1 for group in groups)
        are = "video is a copy of another" if count == 1 else "videos are copies of others"
        notes.append(f"{count} {are}, such as {name(groups[0][1])} of {name(groups[0][0])}")
    conflicts = [pair for group in groups if (pair := _conflicting_copies(group, by_path))]
    conflicts += [pair for video in by_path.values() if (pair := _conflicting_segments(video))]
    for first, second in conflicts[:_MAX_NOTES]:
        labels = f"labeled {printable(first.label)} and {printable(second.label)}"
        if first.path == second.path:
            notes.append(f"{name(first.path)} has the same segment twice, {labels}")
        else:
            notes.append(f"{name(first.path)} and {name(second.path)} are the same video, {labels}")
    if len(conflicts) > _MAX_NOTES:
        notes.append(
            f"{len(conflicts) - _MAX_NOTES} more videos have two labels for the same frames"
        )
    return notes


def _conflicting_copies(
    group: Sequence[Path], by_path: Mapping[Path, Sequence[Example]]
) -> tuple[Example, Example] | None:
    """Two examples of different copies whose segments overlap but whose labels differ."""
    for one, other in itertools.combinations(group, 2):
        for first, second in itertools.product(by_path[one], by_path[other]):
            if first.label != second.label and overlap(first.bounds_s, second.bounds_s):
                return first, second
    return None


def _conflicting_segments(video: Sequence[Example]) -> tuple[Example, Example] | None:
    """The same segment of a video with two labels. Segments that only overlap may have two."""
    seen: dict[tuple[float, float], Example] = {}
    for one in video:
        first = seen.setdefault(one.bounds_s, one)
        if first.label != one.label:
            return first, one
    return None


def _digest(file: Path) -> bytes | None:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()
