"""Reads ground truth in any format that can hold it, and event rows from our own exports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream.formats.base import FORMATS
from stream.formats.csv import Table
from stream.formats.ground_truth import GroundTruth, GroundTruthError
from stream.formats.jsonl import json_lines
from stream.runtime.errors import reason_of

_REQUIRED = ("camera", "label", "start_s", "end_s")  # of our own exports
_NUMBERS = ("start_s", "end_s", "detected_s", "peak", "mean")


def read_ground_truth(path: Path, *, label_from: str = "value") -> GroundTruth:
    """Read ground truth. The suffix selects the format; unknown ones are CSV.

    ELAN labels are the annotation values, or with `label_from` "tier" the tier names.
    Raises GroundTruthError, naming the file and the location of the error.
    """
    readers = {one.suffix: one.read for one in FORMATS.values() if one.read is not None}
    try:
        return readers.get(path.suffix.lower(), readers[".csv"])(path, label_from)
    except OSError as error:
        raise GroundTruthError(f"{path} can't be read: {reason_of(error)}") from error
    except UnicodeDecodeError as error:
        raise GroundTruthError(f"{path} is not text in UTF-8; save it as UTF-8") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read event rows from our own export, jsonl or csv, with the keys that the evaluation needs.

    Raises GroundTruthError, naming the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise GroundTruthError(f"{path} can't be read: {reason_of(error)}") from error
    except UnicodeDecodeError as error:
        raise GroundTruthError(
            f"{path} is not text in UTF-8; export events as jsonl or csv"
        ) from error
    as_json = text.lstrip().startswith("{")
    lines = json_lines(path, text) if as_json else iter(Table(path, text))
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
