"""Annotation files: tables with the columns path and label, bare lines, and published formats."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from model.data import published_annotations
from model.data.annotation_rows import AnnotationFile, AnnotationRow, parse_row
from model.data.video_files import SUFFIXES
from stream.datasets.export import OLD_COLUMNS

_NOT_UTF8 = "is not UTF-8 text; save it as CSV in UTF-8"
_DELIMITERS = (",", ";", "\t")
# A video path and its label with any separator; the path may contain spaces and commas.
_BARE = re.compile(
    r"(?P<path>.+\.(?:" + "|".join(suffix[1:] for suffix in sorted(SUFFIXES)) + r'))"?'
    r"[\s,;]+(?P<label>.+)",
    re.IGNORECASE,
)


def read_annotations(file: Path) -> AnnotationFile:
    """Read an annotation file of any supported format.

    Raises OSError if it can't be read, and ValueError with the reason for an unknown format.
    """
    text = _read_text(file)
    if file.suffix.lower() == ".json":
        return published_annotations.read_json(file, text)
    header, delimiter = _header(text)
    if "youtube_id" in header and "path" not in header:
        if "label" not in header:
            raise ValueError("has no column label; published test lists often have none")
        rows = _rows(file, text, delimiter, published_annotations.kinetics)
        return AnnotationFile(file, tuple(rows), published=True)
    if {"path", "label"} <= set(header):
        return AnnotationFile(file, tuple(_rows(file, text, delimiter, _table_row)))
    if published_annotations.UCF101.fullmatch(file.name):
        return published_annotations.ucf101(file, text)
    names_videos = any(Path(cell).suffix in SUFFIXES for cell in header)
    if {"path", "label"} & set(header) and not names_videos:
        missing, content = ("path", "videos") if "label" in header else ("label", "labels")
        raise ValueError(
            f"has no column {missing}; rename the column with the {content} to {missing} "
            f"(columns: {', '.join(header)})"
        )
    return AnnotationFile(file, tuple(_bare_rows(file, text)))


def read_table(file: Path) -> AnnotationFile | None:
    """Read a table with the columns path and label; None for any other file.

    Raises OSError if it can't be read, and ValueError if it is not text.
    """
    text = _read_text(file)
    header, delimiter = _header(text)
    if not {"path", "label"} <= set(header):
        return None
    return AnnotationFile(file, tuple(_rows(file, text, delimiter, _table_row)))


def _read_text(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(4096)
        if b"\0" in content:  # a video, or UTF-16
            raise ValueError(_NOT_UTF8)
        content += opened.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(_NOT_UTF8) from error


def _header(text: str) -> tuple[list[str], str]:
    """The first line's cells in lower case, and the delimiter."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        cells = next(csv.reader([first], delimiter=delimiter), [])
    except csv.Error:
        cells = []
    return [cell.strip().casefold() for cell in cells], delimiter


def _rows(
    file: Path, text: str, delimiter: str, row: Callable[[str, dict[str, str]], AnnotationRow]
) -> Iterator[AnnotationRow]:
    """A table's rows; `row` makes one of its location and its cells by column."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    header: list[str] = []
    try:
        for cells in reader:
            location = f"{file.name} line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip().casefold() for cell in cells]
            elif any(cell.strip() for cell in cells[len(header) :]):
                problem = (
                    f"it has {len(cells)} cells, the header {len(header)}; quote cells that "
                    f"contain {delimiter!r}"
                )
                yield AnnotationRow(location, problem=problem)
            else:
                cells += [""] * (len(header) - len(cells))
                # Reversed, so that the first of two columns with the same name wins.
                yield row(location, dict(reversed(list(zip(header, cells, strict=False)))))
    except csv.Error as error:
        problem = f"{error}; this row and all later rows are skipped"
        yield AnnotationRow(f"{file.name} line {reader.line_num}", problem=problem)


def _table_row(location: str, cells: dict[str, str]) -> AnnotationRow:
    path = cells["path"].strip()
    if not path:
        return AnnotationRow(location, problem="the path is empty")
    return parse_row(
        location,
        label=cells["label"],
        path=path,
        bounds=(cells.get("start", "").strip(), cells.get("end", "").strip()),
        split=cells.get("split", ""),
        source=cells.get("source", "").strip(),
        # In other tables a column of this name may mean anything.
        event=cells["event"].strip() if set(OLD_COLUMNS) <= set(cells) else "",
    )


def _bare_rows(file: Path, text: str) -> Iterator[AnnotationRow]:
    """Rows of a file without a header: a path, then the label after a space, comma or tab."""
    for number, line in enumerate(text.splitlines(), 1):
        line, location = line.strip(), f"{file.name} line {number}"
        if not line:
            continue
        found = _BARE.fullmatch(line)
        last = max(map(line.rfind, " \t,;"))
        path, label = found.group("path", "label") if found else (line[:last], line[last + 1 :])
        path, label = path.strip(' "'), label.strip(' "')
        if last < 1 or not path:
            yield AnnotationRow(location, problem="it should be a path and a label")
            continue
        if re.fullmatch(r"\d+(\s+\d+)+", label):  # the number of frames precedes the label
            label = label.split()[-1]
        yield parse_row(location, label=label, path=path)
