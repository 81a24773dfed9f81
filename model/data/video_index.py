"""Finds the video files that annotation rows name."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

from model.data.annotation_rows import AnnotationRow, parse_split
from model.data.video_files import find_videos
from stream.datasets.export import label_dirname


class VideoIndex:
    """Finds videos in a folder by path or by name; lists the folder only if a name needs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_stem: dict[str, list[Path]] | None = None  # paths relative to the folder

    def find(self, row: AnnotationRow) -> AnnotationRow:
        """The row with its file; unchanged if there is no such video."""
        for path in _spellings(row.path) if row.path else ():
            if _is_file(self._folder / path):
                return replace(row, file=self._canonical(self._folder / path))
        for stem in (row.trimmed_stem, *row.stems):
            candidates = self._stems().get(stem, []) if stem else []
            if candidates:
                # One video may be in several label folders, trimmed or not.
                best = min(candidates, key=lambda path: not _matches(path, row))
                found = replace(row, file=self._folder / best)
                is_trimmed = stem == row.trimmed_stem
                return replace(found, start_s=None, end_s=None) if is_trimmed else found
        return row

    def _canonical(self, file: Path) -> Path:
        """One spelling per file, so that two rows of the same video match."""
        if not file.is_absolute() and ".." not in file.parts:
            return file
        canonical = Path(os.path.abspath(file))
        with contextlib.suppress(ValueError):  # it is outside of the folder
            canonical = self._folder / canonical.relative_to(os.path.abspath(self._folder))
        # Behind a link, `..` is another folder than it seems.
        is_same = os.path.exists(canonical) and os.path.samefile(canonical, file)
        return canonical if is_same else file

    def _stems(self) -> dict[str, list[Path]]:
        if self._by_stem is None:
            self._by_stem = {}
            for path in find_videos(self._folder).videos:
                self._by_stem.setdefault(path.stem, []).append(path)
        return self._by_stem


def _spellings(path: str) -> dict[str, None]:
    """The path as this machine may spell it, if the file was written on another one."""
    slashes = path.replace("\\", "/")
    forms = (unicodedata.normalize(form, slashes) for form in ("NFC", "NFD"))
    return dict.fromkeys((path, slashes, *forms))


def _is_file(path: Path) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:  # surrogates, null characters
        return False


def _matches(path: Path, row: AnnotationRow) -> bool:
    """Whether one of the video's folders has the name of the row's label or split."""
    names = {row.label, row.label.replace(" ", "_"), label_dirname(row.label)}
    for folder in path.parts[:-1]:
        if folder in names:
            return True
        try:
            if row.split and parse_split(folder) == row.split:
                return True
        except ValueError:  # not a split
            pass
    return False
