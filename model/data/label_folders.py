"""Reads a folder with a subfolder of videos per label, and the annotation tables in it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from model.data.annotation_rows import (
    AnnotationFile,
    AnnotationRow,
    parse_row,
    parse_split,
    split_from_filename,
)
from model.data.annotations import read_table
from model.data.video_files import find_videos
from model.data.video_index import VideoIndex
from stream.datasets.export import LIST, label_dirname
from stream.runtime.errors import printable, reason_of

# A folder with this file is an event log, which owns the videos in these subfolders.
_LOG, _LOG_FOLDERS = "events.sqlite", ("clips", "snapshots")
_SPLIT_FOLDERS = ("train", "val", "valid", "validation", "test")

_Annotated = list[tuple[Path, AnnotationRow]]  # the usable rows of a video, with their tables


def read_folder(folder: Path, videos: Path) -> AnnotationFile:
    """Each video of a folder with its label; paths in its tables are relative to `videos`.

    A table's label overrides that of the subfolder. Raises OSError if the folder can't be read.
    """
    tables, problems = _tables(folder)
    annotated, rows = _by_video(tables, VideoIndex(videos))
    found = find_videos(folder)
    if (folder / _LOG).exists():
        not_of_log = tuple(video for video in found.videos if video.parts[0] not in _LOG_FOLDERS)
        if not_of_log != found.videos:
            problems.append(
                f"{printable(folder)}: is an event log, whose clips have no reviewed labels; "
                "`actionwatch events export-dataset` exports the reviewed ones"
            )
        found = replace(found, videos=not_of_log)
    # A label with special characters has an escaped folder name.
    labels = {label_dirname(row.label): row.label for one in annotated.values() for _, row in one}
    splits = _split_folders(found.videos)
    for video in found.videos:
        below_split = video.parts[1:] if splits else video.parts
        split = splits.get(video.parts[0], "")
        annotations = annotated.pop(_key(folder / video), None)
        if annotations is not None:
            rows += [replace(row, split=row.split or split) for _, row in annotations]
            continue
        path = video.as_posix()
        if splits and not split:
            problem = f"is in none of the split folders {', '.join(sorted(splits))}"
            row = AnnotationRow(path, path=path, problem=problem)
        elif len(below_split) < 2:
            row = AnnotationRow(path, path=path, problem="is not in a label folder")
        else:
            name = unicodedata.normalize("NFC", below_split[0])
            row = parse_row(path, label=labels.get(name, name), path=path, split=split)
        rows.append(replace(row, file=folder / video))
    rows += [row for one in annotated.values() for _, row in one]  # outside of the folder
    return AnnotationFile(folder, tuple(rows), problems=(*problems, *found.problems))


def _tables(folder: Path) -> tuple[list[AnnotationFile], list[str]]:
    """The annotation tables in a folder, clips.csv first, and a line for each unreadable one."""
    tables: list[AnnotationFile] = []
    problems: list[str] = []
    files = [file for file in folder.iterdir() if file.suffix.lower() == ".csv"]
    for file in sorted(files, key=lambda file: (file.name != LIST, file.name)):
        if file.name.startswith(".") or not file.is_file():
            continue
        try:
            table = read_table(file)
        except OSError as error:
            problems.append(f"{printable(file.name)}: can't be read: {reason_of(error)}")
        except ValueError as error:
            problems.append(f"{printable(file.name)}: {error}")
        else:
            tables += [table] if table else []
    splits = [split_from_filename(table.file.stem) for table in tables]
    if "train" in splits and {"val", "test"} & set(splits):
        tables = [
            replace(table, rows=tuple(replace(row, split=row.split or split) for row in table.rows))
            for table, split in zip(tables, splits, strict=True)
        ]
    return tables, problems


def _by_video(
    tables: Iterable[AnnotationFile], index: VideoIndex
) -> tuple[dict[str, _Annotated], list[AnnotationRow]]:
    """The tables' rows by video, and the rows that can't be used."""
    annotated: dict[str, _Annotated] = {}
    unused: list[AnnotationRow] = []
    for table in tables:
        for row in map(index.find, table.rows):
            video = annotated.setdefault(_key(row.file), []) if row.file else []
            if row.file is None or row.problem:
                unused.append(row)
                continue
            earlier = {
                number: one
                for number, (by, one) in enumerate(video)
                if by != table.file and _same_segment(one, row)
            }
            if not earlier:
                video.append((table.file, row))
            elif row.label in {one.label for one in earlier.values()}:
                for number, one in earlier.items():
                    merged = replace(
                        one, source=one.source or row.source, split=one.split or row.split
                    )
                    video[number] = video[number][0], merged
            else:
                by = video[min(earlier)][0]
                problem = f"{by.name} has another label for {row.path}; this row is skipped"
                unused.append(replace(row, problem=problem))
    return annotated, unused


def _same_segment(one: AnnotationRow, other: AnnotationRow) -> bool:
    """Whether two rows are of the same segment; a row without times matches any segment."""
    segments = [(row.start_s or 0.0, row.end_s) for row in (one, other)]
    return segments[0] == segments[1] or (0.0, None) in segments


def _key(file: Path) -> str:
    """The same for all spellings of a path."""
    return unicodedata.normalize("NFC", os.path.normcase(os.path.abspath(file)))


def _split_folders(videos: Sequence[Path]) -> dict[str, str]:
    """The top folders that are splits, with the split's name; empty if all are labels.

    A label may be called "train", too: then its folder holds videos, or is beside other labels.
    """
    tops = {video.parts[0] for video in videos if len(video.parts) > 1}
    deep = {video.parts[0] for video in videos if len(video.parts) > 2}
    splits = {top: parse_split(top) for top in deep if top.casefold() in _SPLIT_FOLDERS}
    both = "train" in splits.values() and len(set(splits.values())) > 1
    return splits if both or set(splits) == tops else {}
