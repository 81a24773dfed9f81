from __future__ import annotations

import io
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stream.formats.base import ExportError, export, export_file
from stream.sinks.event_log.rows import COLUMNS
from tests.event_samples import NASTY, ROWS, START_UTC


def test_parquet_has_types_and_utc_times(tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    export_file(ROWS, file, "parquet")
    table = pq.read_table(file)
    assert table.schema.names == list(COLUMNS)
    times = {"start", "end", "detected_at", "reviewed_at"}
    numbers = {"start_s", "end_s", "detected_s", "peak", "peak_s", "mean", "clip_start_s"}
    assert {name: str(table.schema.field(name).type) for name in COLUMNS} == {
        name: "timestamp[ms, tz=UTC]"
        if name in times
        else "double"
        if name in numbers
        else "string"
        for name in COLUMNS
    }
    assert table["label"][1].as_py() == NASTY
    assert table["start"][0].as_py() == START_UTC + timedelta(seconds=1.5)
    assert table["end"].is_null().to_pylist() == [False, False, False, True]
    assert table["end_s"].to_pylist() == [4.0, 12.0, 6.0, None]


def test_error_names_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"parquet needs .*pyarrow.*'actionwatch\[parquet\]'"):
        export(ROWS, io.BytesIO(), "parquet")
