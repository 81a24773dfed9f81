"""Parquet: all columns of the event log, with types. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import IO, Any

from stream.formats.base import FORMATS, EventFormat, ExportError, Options, rounded
from stream.sinks.event_log.rows import COLUMNS

_TIMES = ("start", "end", "detected_at", "reviewed_at")
_NUMBERS = ("start_s", "end_s", "detected_s", "peak", "peak_s", "mean", "clip_start_s")


def _write(rows: Iterable[Mapping[str, Any]], file: IO[bytes], options: Options) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ExportError(
            f"format parquet needs the package {error.name}: pip install 'actionwatch[parquet]'"
        ) from error
    table = [[rounded(row[name]) for name in COLUMNS] for row in rows]
    columns = {}
    for index, name in enumerate(COLUMNS):
        values = [line[index] for line in table]
        if name in _TIMES:
            texts = pyarrow.array([value or None for value in values], pyarrow.string())
            columns[name] = texts.cast(pyarrow.timestamp("ms", tz="UTC"))
        else:
            kind = pyarrow.float64() if name in _NUMBERS else pyarrow.string()
            columns[name] = pyarrow.array(values, kind)
    pyarrow.parquet.write_table(pyarrow.table(columns), file)


FORMATS.add(
    "parquet",
    EventFormat("Parquet", ".parquet", "application/vnd.apache.parquet", _write, is_binary=True),
)
