"""Exports event rows as JSON Lines, CSV, WebVTT, ActivityNet, ELAN and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stream.formats.elan import elan_text
from stream.formats.relative_times import TIME_BASES, RelativeEvent, to_relative_times
from stream.runtime.files import replacing
from stream.sinks.event_log.rows import COLUMNS

FORMATS = ("jsonl", "csv", "webvtt", "activitynet", "elan", "parquet")
BINARY_FORMATS = frozenset({"parquet"})  # the others are text
RELATIVE_FORMATS = frozenset({"webvtt", "activitynet", "elan"})  # with seconds only, see Options
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r")
_TIMES = ("start", "end", "detected_at", "reviewed_at")
_NUMBERS = ("start_s", "end_s", "detected_s", "peak", "peak_s", "mean", "clip_start_s")


class ExportError(ValueError):
    """An export that is impossible. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of single formats. The time base is for RELATIVE_FORMATS; others contain both."""

    time_base: str = "media"  # or "wall", see stream/formats/relative_times.py
    time_offset_s: float = 0.0  # media time that becomes 0: the start of a clip in its source
    media: Path | None = None  # ELAN: the linked video
    spreadsheet: bool = False  # CSV: escape text that looks like a formula

    def __post_init__(self) -> None:
        if self.time_base not in TIME_BASES:
            raise ExportError(
                f"time base {self.time_base!r} must be one of {', '.join(TIME_BASES)}"
            )


def export(
    rows: Iterable[Mapping[str, Any]],
    file: IO[Any],
    format_name: str,
    options: Options = Options(),
) -> int:
    """Write rows with the keys COLUMNS; return the number of skipped open events.

    `file` is a text file, or a binary file for BINARY_FORMATS. The same rows give the same bytes.
    Raises ExportError for an unknown format or a missing package.
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
    all_rows = list(rows)
    relative_events = to_relative_times(
        all_rows, time_base=options.time_base, time_offset_s=options.time_offset_s
    )
    if format_name == "webvtt":
        file.write(_webvtt(relative_events))
    elif format_name == "activitynet":
        file.write(_activitynet(relative_events))
    else:
        # Not the current time, so that the same rows give the same bytes.
        date = max((row["start"] for row in all_rows), default="1970-01-01T00:00:00.000Z")
        file.write(elan_text(relative_events, date=date, media=options.media))
    return sum(row["end"] is None for row in all_rows)


def export_file(
    rows: Iterable[Mapping[str, Any]],
    path: Path,
    format_name: str,
    options: Options = Options(),
) -> int:
    """Like `export`, to a file that is replaced atomically.

    Raises ExportError, naming the file, if it can't be written.
    """
    path = path.resolve()  # replaces the target of a link, not the link
    if path.exists() and not path.is_file():
        raise ExportError(f"{path} is not a file; give a file with --out")
    try:
        with replacing(path, shared=True) as part:
            if format_name in BINARY_FORMATS:
                with part.open("wb") as binary:
                    return export(rows, binary, format_name, options)
            with part.open("w", encoding="utf-8", newline="") as text:
                return export(rows, text, format_name, options)
    except OSError as error:
        raise ExportError(
            f"{path} can't be written: {error.strerror}; give another file with --out"
        ) from error


def _cell(value: Any) -> Any:
    """Prefix text that a spreadsheet would evaluate with an apostrophe.

    (https://owasp.org/www-community/attacks/CSV_Injection)
    """
    if isinstance(value, str) and value.startswith(_FORMULA_START):
        return f"'{value}"
    return _rounded(value)


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _webvtt(events: Sequence[RelativeEvent]) -> str:
    """Cues by start (https://www.w3.org/TR/webvtt1/), with the camera if there are several."""
    many_cameras = len({event.camera for event in events}) > 1
    cues = ["WEBVTT\n"]
    for event in events:
        text = f"{event.camera}: {event.label}" if many_cameras else event.label
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


def _activitynet(events: Sequence[RelativeEvent]) -> str:
    """Ground truth (`database`) and predictions (`results`) at once.

    ActivityNet's evaluation requires `database`, `taxonomy` and `version` of the one file, and
    `results`, `version` and `external_data` of the other.
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
        segments = [
            {"label": event.label, "score": event.score, "segment": [event.start_s, event.end_s]}
            for event in events
            if event.camera == camera
        ]
        results[camera] = segments
        annotations = [{"label": one["label"], "segment": one["segment"]} for one in segments]
        # "validation" is the default subset of its evaluation.
        database[camera] = {"subset": "validation", "annotations": annotations}
    document = {
        "version": "VERSION 1.3",
        "taxonomy": [root, *nodes],
        "database": database,
        "results": results,
        "external_data": {"used": False, "details": ""},
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


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
    frame["reviewed_at"] = frame["reviewed_at"].replace("", None)  # missing time
    fields: list[tuple[str, Any]] = []
    for name in COLUMNS:
        if name in _TIMES:
            # With a format, an empty column has the type of times, too.
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
            fields.append((name, pyarrow.timestamp("ms", tz="UTC")))
        elif name in _NUMBERS:
            frame[name] = frame[name].astype("float64")
            fields.append((name, pyarrow.float64()))
        else:
            fields.append((name, pyarrow.string()))
    content = io.BytesIO()
    typed = pyarrow.Table.from_pandas(frame, schema=pyarrow.schema(fields), preserve_index=False)
    pq.write_table(typed, content)
    return content.getvalue()
