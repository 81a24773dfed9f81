"""What a person's data is: which stretches of which films show what."""

from __future__ import annotations

import contextlib
import math
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.data.annotation_rows import Listed, Row, shown
from model.data.annotations import read_list
from model.data.label_folders import read_folder
from model.data.video_index import Finder


class DataError(Exception):
    """Data that can't be learnt from. One line for a person."""


@dataclass(frozen=True, slots=True)
class Example:
    """A stretch of a film that shows something."""

    path: Path
    label: str
    start_s: float | None = None  # None: from the film's beginning
    end_s: float | None = None  # None: to its end
    source: str = ""  # what it was cut from; two of one source never part. Never empty once read
    split: str = ""  # "train", "val", "test" where the data say so, else ""

    @property
    def order(self) -> tuple[str, float, float, str]:
        """Sorts examples, the same on each machine however its file names are composed."""
        path = unicodedata.normalize("NFC", self.path.as_posix())
        return path, *self.stretch, self.label

    @property
    def stretch(self) -> tuple[float, float]:
        """From when to when, in seconds: from 0 and to infinity where the data don't say it."""
        return self.start_s or 0.0, math.inf if self.end_s is None else self.end_s


def overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two stretches of a film have pictures in common."""
    return max(one[0], other[0]) < min(one[1], other[1])


@dataclass(frozen=True, slots=True)
class Data:
    """All that was found to learn from."""

    examples: tuple[Example, ...]  # sorted by path, start: the same on each machine
    problems: tuple[str, ...]  # a line for each file or row that was left out, and why


def read_data(where: Path, *, films: Path | None = None) -> Data:
    """Read data of any of these kinds, by what is there.

    - A folder: DIR/LABEL/FILM, at any depth below LABEL, or DIR/SPLIT/LABEL/FILM, where SPLIT is
      train, val, valid, validation or test. CSV files in DIR with the columns path and label, as
      `actionwatch events dataset` writes clips.csv, tell more of the films that they name; the
      others count as what their folder is called. Of two tables that name a stretch of a film the
      first counts (clips.csv, else by name); source and split that it leaves empty are taken from
      the other. The clips of an event log in DIR are left out.
      train.csv beside val.csv or test.csv says the split by its name.
    - A CSV with the columns path and label, and perhaps start and end (seconds, or h:mm:ss), source
      and split. Commas, semicolons or tabs part them; other columns are ignored.
    - Lines without a header: a path and a label, parted by a space or a comma, as mmaction has.
    - A Kinetics CSV: label, youtube_id, time_start, time_end, split.
    - UCF101's trainlistNN.txt or testlistNN.txt; both where they lie side by side.
    - JSON of Something-Something v2 (train and validation, where side by side) or of ActivityNet.

    `films` is the folder that paths in a list start from, by default the list's own. Films of a
    published list lie anywhere in it, with any suffix of a film.

    Raises DataError where nothing can be used.
    """
    if films is not None and not os.path.isdir(films):
        raise DataError(f"{shown(films)} is no folder; give the one that the films lie in")
    is_folder = os.path.isdir(where)
    root = films or (where if is_folder else where.parent)
    try:
        listed = read_folder(where, root) if is_folder else read_list(where)
    except FileNotFoundError as error:
        raise DataError(
            f"{shown(where)} is not there; give a folder, DIR/LABEL/FILM, or a list of films"
        ) from error
    except OSError as error:
        raise DataError(f"{shown(where)} can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{shown(where)} {shown(error)}") from error
    examples, problems = _examples(listed, root)
    if not examples:
        raise DataError(_nothing(where, problems))
    return Data(tuple(sorted(examples, key=lambda one: one.order)), tuple(problems))


def _examples(listed: Listed, films: Path) -> tuple[list[Example], list[str]]:
    """What of a list can be used, and a line for all else."""
    finder = Finder(films)
    # Where no source is said, a film is its own, by its path in here: the same on each machine.
    root = listed.file if os.path.isdir(listed.file) else films
    said: dict[Example, str] = {}  # and the place that says so
    there: dict[str, bool] = {}  # each film that a published list names
    problems = list(listed.problems)
    for row in listed.rows:
        if not (row.file or row.problem):
            row = finder.find(row)
        name = row.path or row.cut or "".join(row.stems)
        why_not = row.problem or _why_not(row.file)
        if listed.published and not row.problem:
            there[name] = row.file is not None
        if row.file is not None and not why_not:
            example = _example(row, row.file, root)
            if example not in said:
                said[example] = row.place
                continue
            why_not = f"says the same as {said[example]}"
        if row.file is not None or row.problem or not listed.published:
            problems.append(f"{row.place}: {why_not or f'{name} is not in {films}'}")
    missing = sum(not found for found in there.values())
    if missing:
        problems.insert(0, f"{missing} of {len(there)} films of {listed.file} are not in {films}")
    return list(said), [shown(problem) for problem in problems]


def _example(row: Row, file: Path, root: Path) -> Example:
    source = row.source or row.event or _inside(file, root)
    return Example(file, row.label, row.start_s, row.end_s, source, row.split)


def _inside(file: Path, root: Path) -> str:
    path = Path(os.path.abspath(file))
    with contextlib.suppress(ValueError):  # it lies elsewhere
        path = path.relative_to(os.path.abspath(root))
    return unicodedata.normalize("NFC", path.as_posix())


def _why_not(file: Path | None) -> str:
    """Why a file can't be a film, as far as one sees without opening it."""
    try:
        return "the file is empty" if file is not None and file.stat().st_size == 0 else ""
    except OSError as error:
        return f"can't be read: {error.strerror or error}"


def _nothing(where: Path, problems: Sequence[str]) -> str:
    looked_for = (
        "LABEL/FILM, SPLIT/LABEL/FILM and tables with the columns path and label"
        if os.path.isdir(where)
        else "a path and a label in each line, or a list of Kinetics, UCF101, "
        "Something-Something or ActivityNet"
    )
    first = f"; {problems[0]}" if problems else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{shown(where)} holds nothing to learn from; looked for {looked_for}{first}{more}"
