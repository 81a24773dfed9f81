"""Ground truth from CSV, ActivityNet and ELAN; event rows from our own exports."""

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
_EXPECTED = "label, start and end, and file, path or camera where it is about many"
_NEEDED = ("camera", "label", "start_s", "end_s")  # of our own exports
_NUMBERS = ("start_s", "end_s", "detected_s", "peak", "mean")


class TruthError(ValueError):
    """A file of ground truth or of events that can't be used. The message is one line."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What happened, by those who know, in seconds of the file."""

    file: str
    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """All that a file of ground truth says."""

    files: tuple[str, ...]  # that it is about, also those in which nothing happens
    segments: tuple[Truth, ...]
    unaligned: int = 0  # ELAN's annotations without times of their own, which are left out


def read_truth(path: Path, *, label_from: str = "value") -> GroundTruth:
    """Read ground truth; the name tells the format: .json is ActivityNet, .eaf ELAN, others CSV.

    ELAN's labels are what its annotations hold, or with `label_from` "tier" the tiers' names.
    Raises TruthError, naming the file and the place in it.
    """
    try:
        if path.suffix.lower() == ".eaf":
            return _elan(path, label_from)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TruthError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TruthError(f"{path} is not text in UTF-8; save it as UTF-8") from error
    return _activitynet(path, text) if path.suffix.lower() == ".json" else _csv(path, text)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Event rows from our own export, jsonl or csv, with at least the keys that scoring needs.

    Raises TruthError, naming the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TruthError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TruthError(f"{path} is not text in UTF-8; export events as jsonl or csv") from error
    as_json = text.lstrip().startswith("{")
    lines = _json_lines(path, text) if as_json else iter(_Csv(path, text))
    return [_row(f"{path} line {number}", line) for number, line in lines]


def _row(place: str, line: Mapping[str, Any]) -> dict[str, Any]:
    missing = [name for name in _NEEDED if name not in line]
    if missing:
        raise TruthError(
            f"{place}: {missing[0]} is missing; export events with format jsonl or csv"
        )
    row = {name: str(line[name]) for name in ("camera", "label")}
    numbers: dict[str, float | None] = {}
    for name in _NUMBERS:
        value = line.get(name)
        try:
            numbers[name] = None if value is None or value == "" else float(value)
        except (TypeError, ValueError):
            raise TruthError(f"{place}: {name} {value!r} must be a number") from None
    if numbers["start_s"] is None:
        raise TruthError(f"{place}: start_s must be seconds, it is empty")
    start = line.get("start") or ""
    return {**row, **numbers, "start": start, "end": line.get("end") or numbers["end_s"]}


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Not splitlines: a label may hold what Python takes for the end of a line.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise TruthError(f"{path} line {number} is not JSON: {error.msg}") from error
        if not isinstance(value, dict):
            raise TruthError(f"{path} line {number} must be one event, {{...}}")
        yield number, value


class _Csv:
    """A table with a header: `names` in lower case, and rows by name, with their lines' numbers."""

    def __init__(self, path: Path, text: str) -> None:
        header = text.split("\n", 1)[0]
        # Whichever divides the header into the most names.
        delimiter = max(",;\t", key=header.count)
        self._path = path
        self._lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        self.names = [name.strip().lower() for name in self._next() or []]

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        while (values := self._next()) is not None:
            number = self._lines.line_num
            if len(values) > len(self.names):
                raise TruthError(
                    f"{self._path} line {number}: {len(values)} values under {len(self.names)} "
                    "names; put quotes round a label that holds the delimiter"
                )
            if any(value.strip() for value in values):
                yield number, dict(zip(self.names, values, strict=False))

    def _next(self) -> list[str] | None:
        try:
            return next(self._lines, None)
        except csv.Error as error:
            raise TruthError(
                f"{self._path} line {self._lines.line_num} is not CSV: {error}"
            ) from error


def _csv(path: Path, text: str) -> GroundTruth:
    table = _Csv(path, text)
    names = table.names
    # Our own exports have both clocks; the camera's own one is meant.
    start, end = (f"{name}_s" if f"{name}_s" in names else name for name in ("start", "end"))
    for name in ("label", start, end):
        if name not in names:
            raise TruthError(f"{path}: its first line must name {_EXPECTED}; {name} is not there")
    of_file = next((name for name in _FILE_COLUMNS if name in names), None)
    files: dict[str, None] = {} if of_file else {path.stem: None}  # a set that keeps the order
    segments = []
    for number, line in table:
        place = f"{path} line {number}"
        file = line.get(of_file, "").strip() if of_file else path.stem
        if not file:
            raise TruthError(f"{place}: {of_file} is empty; name the file or camera")
        files[file] = None
        label = line.get("label", "").strip()
        times = [line.get(name, "").strip() for name in (start, end)]
        if not label and not any(times):
            continue  # nothing happens in this file
        if not label:
            raise TruthError(f"{place}: label is empty")
        start_s, end_s = (
            _seconds(place, name, time) for name, time in zip((start, end), times, strict=True)
        )
        segments.append(_segment(place, file, label, start_s, end_s))
    return GroundTruth(tuple(files), tuple(segments))


def _seconds(place: str, name: str, text: str) -> float:
    """Of "12.5", "0:12.5" or "0:00:12,5"."""
    try:
        parts = [float(part) for part in text.replace(",", ".").split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or not all(0 <= part < math.inf for part in parts):
        raise TruthError(f"{place}: {name} {text!r} must be seconds or h:m:s, like 12.5 or 0:12.5")
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))


def _segment(place: str, file: str, label: str, start_s: float, end_s: float) -> Truth:
    if not -math.inf < start_s < end_s < math.inf:
        raise TruthError(f"{place}: end ({end_s:g} s) must be after start ({start_s:g} s)")
    return Truth(file, label, start_s, end_s)


def _activitynet(path: Path, text: str) -> GroundTruth:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise TruthError(f"{path} line {error.lineno} is not JSON: {error.msg}") from error
    database = whole.get("database") if isinstance(whole, dict) else None
    if not isinstance(database, dict):
        raise TruthError(f"{path}: `database` is missing, which holds ActivityNet's ground truth")
    segments = []
    for file, entry in database.items():
        found = entry.get("annotations") if isinstance(entry, dict) else None
        if not isinstance(found, list):
            raise TruthError(f"{path}: database {file!r}: `annotations` must be a list")
        for number, one in enumerate(found, start=1):
            place = f"{path}: database {file!r} annotation {number}"
            try:
                start_s, end_s = map(float, one["segment"])
                label = str(one["label"])
            except (KeyError, TypeError, ValueError):
                raise TruthError(
                    f"{place} must hold `label` and `segment`: [start, end] in seconds"
                ) from None
            segments.append(_segment(place, file, label, start_s, end_s))
    return GroundTruth(tuple(database), tuple(segments))


def _elan(path: Path, label_from: str) -> GroundTruth:
    try:
        found = read_elan(path)
    except ElanError as error:
        raise TruthError(f"{path} {error}") from error
    file = PurePosixPath(found.media).stem or path.stem
    segments = []
    for one in found.annotations:
        label = one.tier if label_from == "tier" else one.value or one.tier
        place = f"{path} tier {one.tier}"
        segments.append(_segment(place, file, label, one.start_s, one.end_s))
    return GroundTruth((file,), tuple(segments), found.unaligned)
