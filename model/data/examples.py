"""Reads a user's data: labeled segments of videos, from folders and annotation files."""

from __future__ import annotations

import contextlib
import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.annotation_rows import AnnotationFile, AnnotationRow
from model.data.annotations import read_annotations
from model.data.label_folders import read_folder
from model.data.video_index import VideoIndex
from stream.runtime.errors import UserError, printable, reason_of


class DataError(UserError):
    """Data that can't be used for training. One line for a person."""


@dataclass(frozen=True, slots=True)
class Example:
    """A labeled segment of a video."""

    path: Path
    label: str
    start_s: float | None = None  # None: from the start of the video
    end_s: float | None = None  # None: to its end
    source: str = ""  # its recording; never split between train and val. Never empty after reading
    split: str = ""  # "train", "val", "test" if the data has it, else ""

    @property
    def order(self) -> tuple[str, float, float, str]:
        """Sort key, the same on each machine in any Unicode form of the file names."""
        path = unicodedata.normalize("NFC", self.path.as_posix())
        return path, *self.bounds_s, self.label

    @property
    def bounds_s(self) -> tuple[float, float]:
        """Start and end in seconds; 0 and infinity if the data does not give them."""
        return self.start_s or 0.0, math.inf if self.end_s is None else self.end_s


def label_indices(examples: Iterable[Example], labels: Sequence[str]) -> np.ndarray:
    """The index of each example's label in `labels`, int (N,)."""
    indices = {label: index for index, label in enumerate(labels)}
    return np.array([indices[one.label] for one in examples], int)


def overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two segments of a video have frames in common."""
    return max(one[0], other[0]) < min(one[1], other[1])


@dataclass(frozen=True, slots=True)
class Data:
    """All examples found in a folder or annotation file."""

    examples: tuple[Example, ...]  # sorted by path and start: the same on each machine
    problems: tuple[str, ...]  # a line for each skipped file or row, with the reason


def read_data(where: Path, *, videos: Path | None = None) -> Data:
    """Read data in any of these formats, which is detected.

    - A folder: DIR/LABEL/VIDEO, at any depth below LABEL, or DIR/SPLIT/LABEL/VIDEO, where SPLIT is
      train, val, valid, validation or test. CSV files in DIR with the columns path and label, as
      `actionwatch events export-dataset` writes clips.csv, override the folder's label for their
      videos. If two tables name the same segment, the first one wins (clips.csv, then by name);
      its empty source and split are filled from the other. The clips of an event log in DIR are
      skipped. train.csv beside val.csv or test.csv gives the split by its name.
    - A CSV with the columns path and label, and optionally start and end (seconds, or h:mm:ss),
      source and split. Commas, semicolons or tabs separate them; other columns are ignored.
    - Lines without a header: a path and a label, separated by a space or a comma, as in mmaction.
    - A Kinetics CSV: label, youtube_id, time_start, time_end, split.
    - UCF101's trainlistNN.txt or testlistNN.txt; both if they are in the same folder.
    - JSON of Something-Something v2 (train and validation, if in the same folder) or ActivityNet.

    `videos` is the folder that paths in an annotation file are relative to, by default its own
    folder. Videos of a published dataset may be anywhere in it, with any video suffix.

    Raises DataError if nothing can be used.
    """
    if videos is not None and not os.path.isdir(videos):
        raise DataError(f"{printable(videos)} is not a folder; give the folder of the videos")
    is_folder = os.path.isdir(where)
    root = videos or (where if is_folder else where.parent)
    try:
        annotations = read_folder(where, root) if is_folder else read_annotations(where)
    except FileNotFoundError as error:
        raise DataError(
            f"{printable(where)} does not exist; give a folder, DIR/LABEL/VIDEO, or an annotation "
            "file"
        ) from error
    except OSError as error:
        raise DataError(f"{printable(where)} can't be read: {reason_of(error)}") from error
    except ValueError as error:
        raise DataError(f"{printable(where)} {printable(error)}") from error
    examples, problems = _examples(annotations, root)
    if not examples:
        raise DataError(_no_examples(where, problems))
    return Data(tuple(sorted(examples, key=lambda one: one.order)), tuple(problems))


def _examples(annotations: AnnotationFile, videos: Path) -> tuple[list[Example], list[str]]:
    """The usable examples, and a line for each other row."""
    index = VideoIndex(videos)
    # A video without a source is its own source, by its path below `root`.
    root = annotations.file if os.path.isdir(annotations.file) else videos
    location_of: dict[Example, str] = {}
    found: dict[str, bool] = {}  # by the videos that a published list names
    problems = list(annotations.problems)
    for row in annotations.rows:
        if not (row.file or row.problem):
            row = index.find(row)
        name = row.path or row.trimmed_stem or "".join(row.stems)
        problem = row.problem or _file_problem(row.file)
        if annotations.published and not row.problem:
            found[name] = row.file is not None
        if row.file is not None and not problem:
            example = _example(row, row.file, root)
            if example not in location_of:
                location_of[example] = row.location
                continue
            problem = f"duplicates {location_of[example]}"
        if row.file is not None or row.problem or not annotations.published:
            problems.append(f"{row.location}: {problem or f'{name} is not in {videos}'}")
    missing = sum(not is_found for is_found in found.values())
    if missing:
        problems.insert(
            0, f"{missing} of {len(found)} videos of {annotations.file} are not in {videos}"
        )
    return list(location_of), [printable(problem) for problem in problems]


def _example(row: AnnotationRow, file: Path, root: Path) -> Example:
    source = row.source or row.event or _relative(file, root)
    return Example(file, row.label, row.start_s, row.end_s, source, row.split)


def _relative(file: Path, root: Path) -> str:
    path = Path(os.path.abspath(file))
    with contextlib.suppress(ValueError):  # it is outside of root
        path = path.relative_to(os.path.abspath(root))
    return unicodedata.normalize("NFC", path.as_posix())


def _file_problem(file: Path | None) -> str:
    """Why a file can't be a video, without opening it; "" if it can be one."""
    try:
        return "the file is empty" if file is not None and file.stat().st_size == 0 else ""
    except OSError as error:
        return f"can't be read: {reason_of(error)}"


def _no_examples(where: Path, problems: Sequence[str]) -> str:
    looked_for = (
        "LABEL/VIDEO, SPLIT/LABEL/VIDEO and tables with the columns path and label"
        if os.path.isdir(where)
        else "a path and a label in each line, or a list of Kinetics, UCF101, "
        "Something-Something or ActivityNet"
    )
    first = f"; {problems[0]}" if problems else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{printable(where)} has no usable examples; looked for {looked_for}{first}{more}"
