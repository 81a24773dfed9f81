"""JSON Lines: an event per line, with all columns of the event log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from stream.formats.base import FORMATS, EventFormat, Options, rounded
from stream.formats.ground_truth import GroundTruthError
from stream.sinks.event_log.rows import COLUMNS


def _write(rows: Iterable[Mapping[str, Any]], file: IO[bytes], options: Options) -> None:
    for row in rows:
        line = {name: rounded(row[name]) for name in COLUMNS}
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def json_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a text with their line numbers. Raises GroundTruthError, naming the line."""
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


FORMATS.add("jsonl", EventFormat("JSON Lines", ".jsonl", "application/x-ndjson", _write))
