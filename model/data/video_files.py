"""Finds the videos in a folder and its subfolders, in the same order on each machine."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from stream.runtime.errors import printable, reason_of


def _suffixes(text: str) -> frozenset[str]:
    return frozenset(f".{suffix}" for suffix in text.split())


SUFFIXES = _suffixes("""
    mp4 m4v mov qt mkv mk3d webm avi divx mpg mpeg mpe m1v m2v mpv mp2v ts mts m2ts m2t
    vob flv f4v wmv asf 3gp 3g2 ogv ogm rm rmvb mxf dv nut y4m h264 264 h265 265 hevc
    mjpg mjpeg gif amv dav
""")
# Files that are often beside videos and are not reported.
_IGNORED = _suffixes("""
    csv tsv txt json jsonl md rst pdf html htm xml yaml yml toml ini cfg log xls xlsx
    ods doc docx odt bib eaf srt vtt mat npy npz pkl parquet db py sh bat ipynb lnk url
    sqlite sqlite-wal sqlite-shm lock scores
""")


@dataclass(frozen=True, slots=True)
class VideoFolder:
    """The videos in a folder, relative to it and sorted, and a line for each skipped entry."""

    videos: tuple[Path, ...]
    problems: tuple[str, ...]


def find_videos(folder: Path) -> VideoFolder:
    """Find all videos in a folder. Hidden files and folders are skipped.

    Links are followed, but no folder is read twice, so circular links end. Real folders are read
    before linked ones.
    """
    videos: list[Path] = []
    problems: list[str] = []
    unknown: dict[str, list[str]] = {}
    seen: set[tuple[int, int]] = set()
    real, linked = deque([folder]), deque[Path]()
    while real or linked:
        here = real.popleft() if real else linked.popleft()
        try:
            stat = os.stat(here)
            if (stat.st_dev, stat.st_ino) in seen:
                problems.append(f"{_name(here, folder)}: links to a folder that was read already")
                continue
            seen.add((stat.st_dev, stat.st_ino))
            with os.scandir(here) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(f"{_name(here, folder)}: can't be read: {reason_of(error)}")
            continue
        for entry in found:
            path, suffix = here / entry.name, os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                continue
            if _is(entry, "dir"):
                (linked if entry.is_symlink() else real).append(path)
            elif suffix in SUFFIXES and _is(entry, "file"):
                videos.append(path.relative_to(folder))
            elif suffix in SUFFIXES:
                problems.append(f"{_name(path, folder)}: is not a file, or a broken link")
            elif suffix and suffix not in _IGNORED:
                unknown.setdefault(suffix, []).append(_name(path, folder))
    for suffix, names in sorted(unknown.items()):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        problems.append(f"{names[0]}{more}: {printable(suffix)} is not a video format")
    return VideoFolder(tuple(sorted(videos, key=Path.as_posix)), tuple(problems))


def _name(path: Path, folder: Path) -> str:
    return printable(path.relative_to(folder).as_posix())


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError:  # a link to itself
        return False
