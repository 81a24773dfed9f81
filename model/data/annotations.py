"""Lists of films: tables with the columns path and label, bare lines, and published ones."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from model.data import published_annotations as published_lists
from model.data.annotation_rows import Listed, Row, label_of, split_of, stretch
from model.data.video_files import SUFFIXES
from stream.datasets.export import BEFORE

_NO_TEXT = "is no text in UTF-8; save it as CSV in UTF-8"
_DELIMITERS = (",", ";", "\t")
# A film and its label, whatever parts them; the path may hold spaces and commas.
_BARE = re.compile(
    r"(?P<path>.+\.(?:" + "|".join(suffix[1:] for suffix in sorted(SUFFIXES)) + r'))"?'
    r"[\s,;]+(?P<label>.+)",
    re.IGNORECASE,
)


def read_list(file: Path) -> Listed:
    """What a list of any kind says.

    Raises OSError where it can't be read, ValueError, saying what is wrong, where it is no list.
    """
    text = _text(file)
    if file.suffix.lower() == ".json":
        return published_lists.json_list(file, text)
    header, delimiter = _header(text)
    if "youtube_id" in header and "path" not in header:
        if "label" not in header:
            raise ValueError("has no column label; the lists of test films often have none")
        cells = _cells(file, text, delimiter)
        rows = (
            published_lists.kinetics(place, row) if isinstance(row, dict) else row
            for place, row in cells
        )
        return Listed(file, tuple(rows), published=True)
    if {"path", "label"} <= set(header):
        return Listed(file, tuple(_table(file, text, delimiter)))
    if published_lists.UCF101.fullmatch(file.name):
        return published_lists.ucf101(file, text)
    names_films = any(Path(cell).suffix in SUFFIXES for cell in header)
    if {"path", "label"} & set(header) and not names_films:
        lacks, holds = ("path", "films") if "label" in header else ("label", "labels")
        raise ValueError(
            f"has no column {lacks}; call the one with the {holds} so (there are "
            f"{', '.join(header)})"
        )
    return Listed(file, tuple(_bare(file, text)))


def read_table(file: Path) -> Listed | None:
    """What a table with the columns path and label says; None for any other file.

    Raises OSError where it can't be read, ValueError where it is no text.
    """
    text = _text(file)
    header, delimiter = _header(text)
    if not {"path", "label"} <= set(header):
        return None
    return Listed(file, tuple(_table(file, text, delimiter)))


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(4096)
        if b"\0" in content:  # a film, or a text in UTF-16
            raise ValueError(_NO_TEXT)
        content += opened.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(_NO_TEXT) from error


def _header(text: str) -> tuple[list[str], str]:
    """The columns of the first line in small letters, and what parts them."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        cells = next(csv.reader([first], delimiter=delimiter), [])
    except csv.Error:
        cells = []
    return [cell.strip().casefold() for cell in cells], delimiter


def _cells(file: Path, text: str, delimiter: str) -> Iterator[tuple[str, dict[str, str] | Row]]:
    """Each row of a table by its columns, after its place in the file; or why it is none."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    header: list[str] = []
    try:
        for cells in reader:
            place = f"{file.name} line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip().casefold() for cell in cells]
            elif any(cell.strip() for cell in cells[len(header) :]):
                problem = (
                    f"it has {len(cells)} cells, the header {len(header)}; put quotation marks "
                    f"round a text with {delimiter!r}"
                )
                yield place, Row(place, problem=problem)
            else:
                cells += [""] * (len(header) - len(cells))
                # Reversed, so that of two columns with one name the first counts.
                yield place, dict(reversed(list(zip(header, cells, strict=False))))
    except csv.Error as error:
        place = f"{file.name} line {reader.line_num}"
        yield place, Row(place, problem=f"{error}; this and all after it is left out")


def _table(file: Path, text: str, delimiter: str) -> Iterator[Row]:
    for place, cells in _cells(file, text, delimiter):
        if isinstance(cells, Row):
            yield cells
            continue
        path = cells["path"].strip()
        try:
            if not path:
                raise ValueError("the path is empty")
            label, split = label_of(cells["label"]), split_of(cells.get("split", ""))
            start_s, end_s = stretch(cells.get("start", "").strip(), cells.get("end", "").strip())
        except ValueError as error:
            yield Row(place, path=path, problem=str(error))
            continue
        yield Row(
            place,
            label,
            path,
            start_s=start_s,
            end_s=end_s,
            source=cells.get("source", "").strip(),
            # Elsewhere a column of this name may mean anything.
            event=cells["event"].strip() if set(BEFORE) <= set(cells) else "",
            split=split,
        )


def _bare(file: Path, text: str) -> Iterator[Row]:
    """Lines without a header: a path, and the label after a space, a comma or a tab."""
    for number, line in enumerate(text.splitlines(), 1):
        line, place = line.strip(), f"{file.name} line {number}"
        if not line:
            continue
        found = _BARE.fullmatch(line)
        last = max(map(line.rfind, " \t,;"))
        path, label = found.group("path", "label") if found else (line[:last], line[last + 1 :])
        path, label = path.strip(' "'), label.strip(' "')
        if last < 1 or not path:
            yield Row(place, problem="it should be a path and a label")
            continue
        if re.fullmatch(r"\d+(\s+\d+)+", label):  # the number of frames stands before it
            label = label.split()[-1]
        try:
            yield Row(place, label_of(label), path)
        except ValueError as error:
            yield Row(place, path=path, problem=str(error))
