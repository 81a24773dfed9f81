"""CSV: writes all columns of the event log, reads ground truth with label, start and end."""

from __future__ import annotations

import codecs
import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from stream.formats.base import FORMATS, EventFormat, Options, rounded
from stream.formats.ground_truth import GroundTruth, GroundTruthError, checked_segment
from stream.sinks.event_log.rows import COLUMNS

_FORMULA_START = ("=", "+", "-", "@", "\t", "\r")
_FILE_COLUMNS = ("file", "video", "camera", "path")
_EXPECTED = "label, start and end, and for several files also file, path or camera"


def _write(rows: Iterable[Mapping[str, Any]], file: IO[bytes], options: Options) -> None:
    writer = csv.writer(codecs.getwriter("utf-8")(file), lineterminator="\n")
    writer.writerow(COLUMNS)
    cell = _cell if options.spreadsheet else rounded
    writer.writerows([cell(row[name]) for name in COLUMNS] for row in rows)


def _cell(value: Any) -> Any:
    """Prefix text that a spreadsheet would evaluate with an apostrophe.

    (https://owasp.org/www-community/attacks/CSV_Injection)
    """
    if isinstance(value, str) and value.startswith(_FORMULA_START):
        return f"'{value}"
    return rounded(value)


class Table:
    """A table with a header: `names` in lower case, and rows as dictionaries with line numbers."""

    def __init__(self, path: Path, text: str) -> None:
        header = text.split("\n", 1)[0]
        # The most frequent one in the header.
        delimiter = max(",;\t", key=header.count)
        self._path = path
        self._lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        self.names = [name.strip().lower() for name in self._next() or []]

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        while (values := self._next()) is not None:
            number = self._lines.line_num
            if len(values) > len(self.names):
                raise GroundTruthError(
                    f"{self._path} line {number}: {len(values)} values under {len(self.names)} "
                    "names; put a label that contains the delimiter in quotes"
                )
            if any(value.strip() for value in values):
                yield number, dict(zip(self.names, values, strict=False))

    def _next(self) -> list[str] | None:
        try:
            return next(self._lines, None)
        except csv.Error as error:
            raise GroundTruthError(
                f"{self._path} line {self._lines.line_num} is not CSV: {error}"
            ) from error


def _read(path: Path, label_from: str) -> GroundTruth:
    table = Table(path, path.read_text(encoding="utf-8-sig"))
    names = table.names
    # Our own exports have both clocks; use the camera's.
    start, end = (f"{name}_s" if f"{name}_s" in names else name for name in ("start", "end"))
    for name in ("label", start, end):
        if name not in names:
            raise GroundTruthError(
                f"{path}: its first line must name {_EXPECTED}; {name} is missing"
            )
    file_column = next((name for name in _FILE_COLUMNS if name in names), None)
    files: dict[str, None] = {} if file_column else {path.stem: None}  # an ordered set
    segments = []
    for number, line in table:
        where = f"{path} line {number}"
        file = line.get(file_column, "").strip() if file_column else path.stem
        if not file:
            raise GroundTruthError(f"{where}: {file_column} is empty; give the file or camera")
        files[file] = None
        label = line.get("label", "").strip()
        times = [line.get(name, "").strip() for name in (start, end)]
        if not label and not any(times):
            continue  # a file without actions
        if not label:
            raise GroundTruthError(f"{where}: label is empty")
        start_s, end_s = (
            _seconds(where, name, time) for name, time in zip((start, end), times, strict=True)
        )
        segments.append(checked_segment(where, file, label, start_s, end_s))
    return GroundTruth(tuple(files), tuple(segments))


def _seconds(where: str, name: str, text: str) -> float:
    """Parse "12.5", "0:12.5" or "0:00:12,5"."""
    try:
        parts = [float(part) for part in text.replace(",", ".").split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or not all(0 <= part < math.inf for part in parts):
        raise GroundTruthError(
            f"{where}: {name} {text!r} must be seconds or h:m:s, like 12.5 or 0:12.5"
        )
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))


FORMATS.add(
    "csv",
    EventFormat("Spreadsheet (CSV)", ".csv", "text/csv; charset=utf-8", _write, _read),
)
