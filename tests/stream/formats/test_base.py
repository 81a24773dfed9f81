from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webvtt

from stream.formats.base import FORMATS, ExportError, Options, export, export_file
from stream.sinks.event_log.rows import COLUMNS
from tests.event_files import exported
from tests.event_samples import NASTY, ROWS, row


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, format_name: str) -> None:
    for name in ("one", "other"):
        left_out = export_file(iter(ROWS), tmp_path / name, format_name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes() != b""
    assert left_out == (0 if format_name in ("jsonl", "csv", "parquet") else 1)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("format_name", FORMATS)
def test_export_without_events_is_valid(tmp_path: Path, format_name: str) -> None:
    file = tmp_path / "none"
    assert export_file([], file, format_name) == 0
    if format_name == "csv":
        assert file.read_text() == ",".join(COLUMNS) + "\n"
    elif format_name == "webvtt":
        assert not webvtt.from_string(file.read_text()).captions
    elif format_name == "activitynet":
        assert json.loads(file.read_text())["database"] == {}
    elif format_name == "parquet":
        table = pq.read_table(file)
        assert (table.num_rows, table.schema.names) == (0, list(COLUMNS))
        assert str(table.schema.field("start").type) == "timestamp[ms, tz=UTC]"


def test_jsonl_has_one_row_per_line() -> None:
    lines = exported(ROWS, "jsonl").removesuffix("\n").split("\n")
    read = [json.loads(line) for line in lines]
    assert [tuple(one) for one in read] == [COLUMNS] * 4
    assert read[1]["label"] == NASTY
    assert (read[3]["end"], read[3]["end_s"]) == (None, None)
    assert "戸" in lines[1]


def test_reviews_are_exported() -> None:
    review = {"verdict": "corrected", "corrected": "hop", "note": NASTY, "reviewed_by": "anna"}
    reviewed = [
        row("wave", 1.0, 2.0) | review | {"reviewed_at": "2026-02-01T08:00:00.000Z"},
        row("jump", 3.0, 4.0) | {"verdict": "rejected"},
        row("run", 5.0, 6.0) | {"verdict": "confirmed", "clip_start_s": 2.5},
    ]
    lines = [json.loads(line) for line in exported(reviewed, "jsonl").split("\n")[:-1]]
    assert lines == reviewed
    assert [one["verdict"] for one in csv.DictReader(io.StringIO(exported(reviewed, "csv")))] == [
        "corrected",
        "rejected",
        "confirmed",
    ]
    binary = io.BytesIO()
    export(reviewed, binary, "parquet")
    table = pq.read_table(binary)
    assert table["note"][0].as_py() == NASTY
    assert str(table["reviewed_at"].type) == "timestamp[ms, tz=UTC]"
    assert table["reviewed_at"].is_null().to_pylist() == [False, True, True]
    assert table["clip_start_s"].is_null().to_pylist() == [True, True, False]


@pytest.mark.parametrize("format_name", ["webvtt", "activitynet", "elan"])
def test_relative_formats_apply_reviews(format_name: str) -> None:
    reviewed = [
        row("wave", 1.0, 2.0) | {"verdict": "corrected", "corrected": "hop"},
        row("jump", 3.0, 4.0) | {"verdict": "rejected"},
        row("run", 5.0, 6.0) | {"verdict": "confirmed"},
    ]
    content = exported(reviewed, format_name)
    assert [label in content for label in ("hop", "jump", "run")] == [True, False, True]


def test_failed_export_preserves_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"is not a file"):
        export_file(ROWS, tmp_path, "csv")
    with pytest.raises(ExportError, match=r"nowhere/x.csv can't be written: No such file"):
        export_file(ROWS, tmp_path / "nowhere" / "x.csv", "csv")
    target = tmp_path / "target.csv"
    target.write_text("before")
    (tmp_path / "link.csv").symlink_to(target)
    with pytest.raises(KeyError):
        export_file([{"id": "broken"}], target, "csv")
    assert target.read_text() == "before"
    export_file([], tmp_path / "link.csv", "csv")
    assert target.read_text() == ",".join(COLUMNS) + "\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "target.csv"]


def test_error_names_invalid_format_or_time_base() -> None:
    with pytest.raises(ExportError, match=r"'xml' must be one of activitynet, csv"):
        export([], io.BytesIO(), "xml")
    with pytest.raises(ExportError, match="time base 'sun' must be one of media, wall"):
        Options(time_base="sun")
    binary = {name for name, one in FORMATS.items() if one.is_binary}
    assert binary == {"parquet"}
