"""The films in a folder and below it, found the same way on each machine."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from model.data.annotation_rows import shown


def _suffixes(text: str) -> frozenset[str]:
    return frozenset(f".{suffix}" for suffix in text.split())


SUFFIXES = _suffixes("""
    mp4 m4v mov qt mkv mk3d webm avi divx mpg mpeg mpe m1v m2v mpv mp2v ts mts m2ts m2t
    vob flv f4v wmv asf 3gp 3g2 ogv ogm rm rmvb mxf dv nut y4m h264 264 h265 265 hevc
    mjpg mjpeg gif amv dav
""")
# What lies beside films and needs no word.
_BESIDE = _suffixes("""
    csv tsv txt json jsonl md rst pdf html htm xml yaml yml toml ini cfg log xls xlsx
    ods doc docx odt bib eaf srt vtt mat npy npz pkl parquet db py sh bat ipynb lnk url
    sqlite sqlite-wal sqlite-shm lock scores
""")


@dataclass(frozen=True, slots=True)
class FilmFolder:
    """What a folder holds: its films, relative to it and sorted, and what was passed over."""

    films: tuple[Path, ...]
    problems: tuple[str, ...]


def look_through(folder: Path) -> FilmFolder:
    """Find all films in a folder. Hidden files and folders are passed over.

    Links are followed, but a folder that has been read already isn't read again: so links that
    lead in circles come to an end, and what is really in the folder goes before what is linked.
    """
    films: list[Path] = []
    problems: list[str] = []
    others: dict[str, list[str]] = {}
    seen: set[tuple[int, int]] = set()
    real, linked = deque([folder]), deque[Path]()
    while real or linked:
        here = real.popleft() if real else linked.popleft()
        try:
            known = os.stat(here)
            if (known.st_dev, known.st_ino) in seen:
                problems.append(f"{_name(here, folder)}: links to a folder that was read already")
                continue
            seen.add((known.st_dev, known.st_ino))
            with os.scandir(here) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(f"{_name(here, folder)}: can't be read: {error.strerror or error}")
            continue
        for entry in found:
            path, suffix = here / entry.name, os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                continue
            if _is(entry, "dir"):
                (linked if entry.is_symlink() else real).append(path)
            elif suffix in SUFFIXES and _is(entry, "file"):
                films.append(path.relative_to(folder))
            elif suffix in SUFFIXES:
                problems.append(f"{_name(path, folder)}: is no file, or a broken link")
            elif suffix and suffix not in _BESIDE:
                others.setdefault(suffix, []).append(_name(path, folder))
    for suffix, names in sorted(others.items()):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        problems.append(f"{names[0]}{more}: {shown(suffix)} is no kind of film")
    return FilmFolder(tuple(sorted(films, key=Path.as_posix)), tuple(problems))


def _name(path: Path, folder: Path) -> str:
    return shown(path.relative_to(folder).as_posix())


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError:  # a link to itself
        return False
