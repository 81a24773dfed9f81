"""Event rows -> text files: JSON Lines and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from stream.event_log import COLUMNS

FORMATS = ("jsonl", "csv")


def export(rows: Iterable[Mapping[str, Any]], file: TextIO, format_name: str) -> None:
    """Write rows of the event log with the keys COLUMNS."""
    if format_name == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_rounded(row[name]) for name in COLUMNS] for row in rows)
        return
    for row in rows:
        line = {name: _rounded(row[name]) for name in COLUMNS}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
