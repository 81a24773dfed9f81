"""Where the films are that a list names."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

from model.data.annotation_rows import Row, split_of
from model.data.video_files import look_through
from stream.datasets.labels import class_folder


class Finder:
    """Finds the films of a list in a folder; goes through all of it only if a list needs that."""

    def __init__(self, films: Path) -> None:
        self._films = films
        self._by_stem: dict[str, list[Path]] | None = None  # each relative to the folder

    def find(self, row: Row) -> Row:
        """The row with its file; without one where there is no such film."""
        for path in _spellings(row.path) if row.path else ():
            if _is_file(self._films / path):
                return replace(row, file=self._tidy(self._films / path))
        for stem in (row.cut, *row.stems):
            there = self._stems().get(stem, []) if stem else []
            if there:
                # One video may lie in several class folders, cut or not.
                best = min(there, key=lambda path: not _suits(path, row))
                found = replace(row, file=self._films / best)
                return replace(found, start_s=None, end_s=None) if stem == row.cut else found
        return row

    def _tidy(self, file: Path) -> Path:
        """The one way to write where a film is, so that two rows of it know of each other."""
        if not file.is_absolute() and ".." not in file.parts:
            return file
        tidy = Path(os.path.abspath(file))
        with contextlib.suppress(ValueError):  # it lies elsewhere
            tidy = self._films / tidy.relative_to(os.path.abspath(self._films))
        # Behind a link, `..` is another folder than it seems.
        return tidy if os.path.exists(tidy) and os.path.samefile(tidy, file) else file

    def _stems(self) -> dict[str, list[Path]]:
        if self._by_stem is None:
            self._by_stem = {}
            for path in look_through(self._films).films:
                self._by_stem.setdefault(path.stem, []).append(path)
        return self._by_stem


def _spellings(path: str) -> dict[str, None]:
    """A path as it may be called on this machine, when the list was made on another one."""
    slashes = path.replace("\\", "/")
    forms = (unicodedata.normalize(form, slashes) for form in ("NFC", "NFD"))
    return dict.fromkeys((path, slashes, *forms))


def _is_file(path: Path) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:  # halves of characters, zeros
        return False


def _suits(path: Path, row: Row) -> bool:
    """Whether a folder that a film lies in is called as its label or its split."""
    names = {row.label, row.label.replace(" ", "_"), class_folder(row.label)}
    for folder in path.parts[:-1]:
        if folder in names:
            return True
        try:
            if row.split and split_of(folder) == row.split:
                return True
        except ValueError:  # it is called otherwise
            pass
    return False
