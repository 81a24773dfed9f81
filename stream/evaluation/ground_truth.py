"""Reads ground truth from CSV, ActivityNet and ELAN, and event rows from our own exports."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stream.formats.elan import ElanError, read_elan

_FILE_COLUMNS = ("file", "video", "camera", "path")
_EXPECTED = "label, start and end, and for several files also file, path or camera"
_REQUIRED = ("camera", "label", "start_s", "end_s")  # of our own exports
_NUMBERS = ("start_s", "end_s", "detected_s", "peak", "mean")


class GroundTruthError(ValueError):
    """An unusable file of ground truth or events. The message is one line."""


@dataclass(frozen=True, slots=True)
class GroundTruthSegment:
    """An action in a file, in seconds of the file."""

    file: str
    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The content of a ground truth file."""

    files: tuple[str, ...]  # including files without actions
    segments: tuple[GroundTruthSegment, ...]
    unaligned: int = 0  # skipped ELAN annotations without times of their own


def read_ground_truth(path: Path, *, label_from: str = "value") -> GroundTruth:
    """Read ground truth. The suffix selects the format: .json ActivityNet, .eaf ELAN, else CSV.

    ELAN labels are the annotation values, or with `label_from` "tier" the tier names.
    Raises GroundTruthError, naming the file and the location of the error.
    """
    try:
        if path.suffix.lower() == ".eaf":
            return _elan(path, label_from)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise GroundTruthError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GroundTruthError(f"{path} is not text in UTF-8; save it as UTF-8") from error
    return _activitynet(path, text) if path.suffix.lower() == ".json" else _csv(path, text)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read event rows from our own export, jsonl or csv, with the keys that the evaluation needs.

    Raises GroundTruthError, naming the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise GroundTruthError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GroundTruthError(
            f"{path} is not text in UTF-8; export events as jsonl or csv"
        ) from error
    as_json = text.lstrip().startswith("{")
    lines = _json_lines(path, text) if as_json else iter(_Csv(path, text))
    return [_row(f"{path} line {number}", line) for number, line in lines]


def _row(where: str, line: Mapping[str, Any]) -> dict[str, Any]:
    missing = [name for name in _REQUIRED if name not in line]
    if missing:
        raise GroundTruthError(
            f"{where}: {missing[0]} is missing; export events with format jsonl or csv"
        )
    row = {name: str(line[name]) for name in ("camera", "label")}
    numbers: dict[str, float | None] = {}
    for name in _NUMBERS:
        value = line.get(name)
        try:
            numbers[name] = None if value is None or value == "" else float(value)
        except (TypeError, ValueError):
            raise GroundTruthError(f"{where}: {name} {value!r} must be a number") from None
    if numbers["start_s"] is None:
        raise GroundTruthError(f"{where}: start_s is empty, it must be seconds")
    start = line.get("start") or ""
    return {**row, **numbers, "start": start, "end": line.get("end") or numbers["end_s"]}


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Not splitlines, which also splits at Unicode line separators inside a label.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise GroundTruthError(f"{path} line {number} is not JSON: {error.msg}") from error
        if not isinstance(value, dict):
            raise GroundTruthError(f"{path} line {number} must be one event, {{...}}")
        yield number, value


class _Csv:
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


def _csv(path: Path, text: str) -> GroundTruth:
    table = _Csv(path, text)
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
        segments.append(_segment(where, file, label, start_s, end_s))
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


def _segment(where: str, file: str, label: str, start_s: float, end_s: float) -> GroundTruthSegment:
    if not -math.inf < start_s < end_s < math.inf:
        raise GroundTruthError(f"{where}: end ({end_s:g} s) must be after start ({start_s:g} s)")
    return GroundTruthSegment(file, label, start_s, end_s)


def _activitynet(path: Path, text: str) -> GroundTruth:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise GroundTruthError(f"{path} line {error.lineno} is not JSON: {error.msg}") from error
    database = document.get("database") if isinstance(document, dict) else None
    if not isinstance(database, dict):
        raise GroundTruthError(f"{path}: `database` is missing, the ground truth of ActivityNet")
    segments = []
    for file, entry in database.items():
        annotations = entry.get("annotations") if isinstance(entry, dict) else None
        if not isinstance(annotations, list):
            raise GroundTruthError(f"{path}: database {file!r}: `annotations` must be a list")
        for number, one in enumerate(annotations, start=1):
            where = f"{path}: database {file!r} annotation {number}"
            try:
                start_s, end_s = map(float, one["segment"])
                label = str(one["label"])
            except (KeyError, TypeError, ValueError):
                raise GroundTruthError(
                    f"{where} must hold `label` and `segment`: [start, end] in seconds"
                ) from None
            segments.append(_segment(where, file, label, start_s, end_s))
    return GroundTruth(tuple(database), tuple(segments))


def _elan(path: Path, label_from: str) -> GroundTruth:
    try:
        document = read_elan(path)
    except ElanError as error:
        raise GroundTruthError(f"{path} {error}") from error
    file = PurePosixPath(document.media).stem or path.stem
    segments = []
    for one in document.annotations:
        label = one.tier if label_from == "tier" else one.value or one.tier
        where = f"{path} tier {one.tier}"
        segments.append(_segment(where, file, label, one.start_s, one.end_s))
    return GroundTruth((file,), tuple(segments), document.unaligned)
