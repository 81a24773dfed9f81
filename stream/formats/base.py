"""Event rows -> files of other programs: JSON Lines, CSV, WebVTT, ActivityNet, ELAN, Parquet."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stream.formats.elan import elan_text
from stream.formats.relative_times import CLOCKS, Placed, place
from stream.sinks.event_log.rows import COLUMNS

FORMATS = ("jsonl", "csv", "webvtt", "activitynet", "elan", "parquet")
BINARY = frozenset({"parquet"})  # the others are text
PLACED = frozenset({"webvtt", "activitynet", "elan"})  # have seconds only: Options are for them
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TIMES = ("start", "end", "detected_at", "reviewed_at")
_NUMBERS = ("start_s", "end_s", "detected_s", "peak", "peak_s", "mean", "clip_start_s")


class ExportError(ValueError):
    """An export that can't be made. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Options:
    """Of formats that have seconds only; the others hold both clocks."""

    clock: str = "media"  # or "wall", see stream/formats/relative_times.py
    zero_s: float = 0.0  # the media time that becomes 0: where a clip begins in its source
    media: Path | None = None  # ELAN: the video to show
    spreadsheet: bool = False  # CSV: nothing in it is taken for a formula

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise ExportError(f"clock {self.clock!r} must be one of {', '.join(CLOCKS)}")


def export(
    rows: Iterable[Mapping[str, Any]],
    file: IO[Any],
    format_name: str,
    options: Options = Options(),
) -> int:
    """Write rows with the keys COLUMNS; how many were left out because they are still open.

    `file` takes text, for formats in BINARY bytes. The same rows give the same bytes.
    Raises ExportError for a format that there is not, or that needs a package that is not there.
    """
    if format_name == "jsonl":
        for row in rows:
            line = {name: _rounded(row[name]) for name in COLUMNS}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return 0
    if format_name == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        cell = _cell if options.spreadsheet else _rounded
        writer.writerows([cell(row[name]) for name in COLUMNS] for row in rows)
        return 0
    if format_name == "parquet":
        file.write(_parquet(rows))
        return 0
    if format_name not in FORMATS:
        raise ExportError(f"format {format_name!r} must be one of {', '.join(FORMATS)}")
    known = list(rows)
    placed = place(known, clock=options.clock, zero_s=options.zero_s)
    if format_name == "webvtt":
        file.write(_webvtt(placed))
    elif format_name == "activitynet":
        file.write(_activitynet(placed))
    else:
        # When it was made would make each export another one.
        date = max((row["start"] for row in known), default="1970-01-01T00:00:00.000Z")
        file.write(elan_text(placed, date=date, media=options.media))
    return sum(row["end"] is None for row in known)


def export_file(
    rows: Iterable[Mapping[str, Any]],
    path: Path,
    format_name: str,
    options: Options = Options(),
) -> int:
    """`export` to a file, which is there whole or not at all.

    Raises ExportError, naming the file, where it can't be written.
    """
    path = path.resolve()  # else a link would be replaced, not what it leads to
    if path.exists() and not path.is_file():
        raise ExportError(f"{path} is no file; give the name of a file with --out")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            if format_name in BINARY:
                with part.open("wb") as binary:
                    left_out = export(rows, binary, format_name, options)
            else:
                with part.open("w", encoding="utf-8", newline="") as text:
                    left_out = export(rows, text, format_name, options)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(
            f"{path} can't be written: {error.strerror}; give another file with --out"
        ) from error
    return left_out


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would calculate gets an apostrophe, as one types it there.

    (https://owasp.org/www-community/attacks/CSV_Injection)
    """
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return _rounded(value)


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _webvtt(events: Sequence[Placed]) -> str:
    """Cues by start (https://www.w3.org/TR/webvtt1/); of many cameras each names its own."""
    several = len({event.camera for event in events}) > 1
    cues = ["WEBVTT\n"]
    for event in events:
        text = f"{event.camera}: {event.label}" if several else event.label
        text = " ".join(text.split()).replace("&", "&amp;")  # an empty line would end the cue
        text = text.replace("<", "&lt;").replace(">", "&gt;")
        cues.append(
            f"{event.id}\n{_cue_time(event.start_s)} --> {_cue_time(event.end_s)}\n{text}\n"
        )
    return "\n".join(cues)


def _cue_time(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return (
        f"{minutes // 60:02d}:{minutes % 60:02d}:"
        f"{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    )


def _activitynet(events: Sequence[Placed]) -> str:
    """Ground truth (`database`) and predictions (`results`) at once.

    ActivityNet's evaluation asks only that the keys it needs are there: `database`, `taxonomy` and
    `version` of the one, `results`, `version` and `external_data` of the other.
    (https://github.com/activitynet/ActivityNet, Evaluation/eval_detection.py)
    """
    root = {"nodeId": 0, "nodeName": "Root", "parentId": None, "parentName": None}
    nodes: list[dict[str, Any]] = [
        {"nodeId": number, "nodeName": label, "parentId": 0, "parentName": "Root"}
        for number, label in enumerate(sorted({event.label for event in events}), start=1)
    ]
    database: dict[str, Any] = {}
    results: dict[str, Any] = {}
    for camera in sorted({event.camera for event in events}):
        found = [
            {"label": event.label, "score": event.score, "segment": [event.start_s, event.end_s]}
            for event in events
            if event.camera == camera
        ]
        results[camera] = found
        annotations = [{"label": one["label"], "segment": one["segment"]} for one in found]
        # "validation" is the subset that its evaluation takes unless it is told otherwise.
        database[camera] = {"subset": "validation", "annotations": annotations}
    whole = {
        "version": "VERSION 1.3",
        "taxonomy": [root, *nodes],
        "database": database,
        "results": results,
        "external_data": {"used": False, "details": ""},
    }
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _parquet(rows: Iterable[Mapping[str, Any]]) -> bytes:
    try:
        import pandas as pd
        import pyarrow
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ExportError(
            f"format parquet needs the package {error.name}: pip install 'actionwatch[parquet]'"
        ) from error
    table = [[_rounded(row[name]) for name in COLUMNS] for row in rows]
    frame = pd.DataFrame(table, columns=list(COLUMNS))
    frame["reviewed_at"] = frame["reviewed_at"].replace("", None)  # no time at all
    kinds: list[tuple[str, Any]] = []
    for name in COLUMNS:
        if name in _TIMES:
            # Given the format, an empty column is one of times too.
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
            kinds.append((name, pyarrow.timestamp("ms", tz="UTC")))
        elif name in _NUMBERS:
            frame[name] = frame[name].astype("float64")
            kinds.append((name, pyarrow.float64()))
        else:
            kinds.append((name, pyarrow.string()))
    content = io.BytesIO()
    typed = pyarrow.Table.from_pandas(frame, schema=pyarrow.schema(kinds), preserve_index=False)
    pq.write_table(typed, content)
    return content.getvalue()
