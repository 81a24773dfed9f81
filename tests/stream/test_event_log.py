from __future__ import annotations

import csv
import io
import json
import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stream.event_log import COLUMNS, FILE, EventLog, EventLogError
from stream.exports import export
from stream.messages import Event

BEGAN = datetime(2026, 1, 31, 23, 59, 58, 500_000, tzinfo=timezone.utc)
OPEN = Event("door", "wave", 2.0, 2.5, None, 0.8, 0.7)
CLOSED = replace(OPEN, latest_s=4.0, end_s=4.0, peak=0.9)


def rows(folder: Path, **which: object) -> list[dict]:
    with EventLog.open(folder) as log:
        return list(log.rows(**which))  # type: ignore[arg-type]


def test_an_event_is_one_row_from_open_to_closed(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write(OPEN, began_utc=BEGAN, model="motion")
        (row,) = rows(tmp_path)
        assert (row["end"], row["end_s"]) == (None, None)
        log.write(CLOSED, began_utc=BEGAN, model="motion")
    (row,) = rows(tmp_path)
    assert tuple(row) == COLUMNS
    assert row["start"] == "2026-02-01T00:00:00.500Z"
    assert row["end"] == "2026-02-01T00:00:02.500Z"
    assert (row["start_s"], row["end_s"], row["peak"], row["mean"]) == (2.0, 4.0, 0.9, 0.7)
    assert (row["camera"], row["label"], row["model"]) == ("door", "wave", "motion")
    assert row["closed_by"] == ""


def test_the_same_label_again_is_another_row(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        for shift in (0, 10):
            moved = replace(OPEN, start_s=2.0 + shift)
            log.write(moved, began_utc=BEGAN, model="motion")
            log.write(replace(moved, end_s=4.0 + shift), began_utc=BEGAN, model="motion")
    found = rows(tmp_path)
    assert [row["start_s"] for row in found] == [2.0, 12.0]
    assert len({row["id"] for row in found}) == 2


def test_what_a_killed_run_left_open_is_closed_where_it_was_last_seen(tmp_path: Path) -> None:
    killed = EventLog.create(tmp_path)
    killed.write(OPEN, began_utc=BEGAN, model="motion")
    killed.write(replace(OPEN, latest_s=3.25), began_utc=BEGAN, model="motion")
    assert rows(tmp_path)[0]["end"] is None
    killed.close()
    before = rows(tmp_path)  # nobody writes any more: a reader says the same as the next run
    EventLog.create(tmp_path).close()
    (row,) = rows(tmp_path)
    assert before == [row]
    assert row["closed_by"] == "crash"
    assert row["end_s"] == 3.25
    assert row["end"] == "2026-02-01T00:00:01.750Z"


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write(OPEN, began_utc=BEGAN, model="motion")
        with pytest.raises(EventLogError, match="another run is writing"):
            EventLog.create(tmp_path)
        assert rows(tmp_path)[0]["end"] is None  # and it was left alone
    EventLog.create(tmp_path).close()


def test_a_path_may_hold_what_means_something_in_an_address(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c%20d"
    EventLog.create(folder).close()
    assert (folder / FILE).is_file()


def test_damage_behind_the_header_is_named(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        for number in range(200):
            event = Event("door", "wave", number, number + 0.5, number + 0.5, 0.9, 0.8)
            log.write(event, began_utc=BEGAN, model="motion")
    file = tmp_path / FILE
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)
    with pytest.raises(EventLogError, match=r"events\.sqlite can't be used"):
        rows(tmp_path)


def test_rows_can_be_chosen(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        for camera, label, start_s in (("a", "wave", 0), ("b", "wave", 5), ("a", "run", 9)):
            event = Event(camera, label, start_s, start_s + 1, start_s + 1, 0.9, 0.8)
            log.write(event, began_utc=BEGAN, model="motion")
    assert [row["start_s"] for row in rows(tmp_path)] == [0, 5, 9]
    assert [row["start_s"] for row in rows(tmp_path, camera="a")] == [0, 9]
    assert [row["start_s"] for row in rows(tmp_path, label="wave")] == [0, 5]
    since = BEGAN + timedelta(seconds=5)
    assert [row["start_s"] for row in rows(tmp_path, since=since)] == [5, 9]
    elsewhere = since.astimezone(timezone(timedelta(hours=9)))
    assert [row["start_s"] for row in rows(tmp_path, since=elsewhere)] == [5, 9]
    assert [row["start_s"] for row in rows(tmp_path, latest=2)] == [9, 5]


def test_it_is_a_write_ahead_log(tmp_path: Path) -> None:
    with EventLog.create(tmp_path):
        connection = sqlite3.connect(tmp_path / FILE)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match=r"no event log in .*events\.sqlite is missing"):
        EventLog.open(tmp_path)


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, but long enough to look like one" * 100)
    for use in (EventLog.open, EventLog.create):
        with pytest.raises(EventLogError, match=r"events\.sqlite can't be used: file is not a"):
            use(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EventLogError, match="can't be used"):
        EventLog.create(tmp_path / "file" / "data")


def test_a_log_of_another_version_is_left_alone(tmp_path: Path) -> None:
    EventLog.create(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(EventLogError, match="schema version 99"):
        EventLog.create(tmp_path)


def test_exports_hold_the_same_rows(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        event = Event("door", 'say "hi", été', 1.23456, 2, 3.5, 0.123456, 0.1)
        log.write(event, began_utc=BEGAN, model="motion")
        found = list(log.rows())
    lines, table = io.StringIO(), io.StringIO()
    export(found, lines, "jsonl")
    export(found, table, "csv")
    (line,) = [json.loads(text) for text in lines.getvalue().splitlines()]
    (record,) = csv.DictReader(io.StringIO(table.getvalue()))
    assert tuple(line) == tuple(record) == COLUMNS
    assert line["label"] == record["label"] == 'say "hi", été'
    assert (line["start_s"], line["peak"]) == (1.235, 0.123)
    assert {key: str(value) for key, value in line.items()} == record
