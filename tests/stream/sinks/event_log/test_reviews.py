"""Reviews of events in the event log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.messages import EventMedia, Review
from stream.sinks.event_log.database import FILE, REVIEW_COLUMNS, EventLogError, UnknownEventError
from stream.sinks.event_log.event_log import EventLog
from tests.event_samples import NASTY, START_UTC, logged

LATER = START_UTC + timedelta(days=1)
WAVE = logged("wave", 2.0, None)
ID = WAVE.event.id
NO_REVIEW = dict.fromkeys(REVIEW_COLUMNS, "")


def review_of(log: EventLog, event_id: str = ID) -> dict[str, Any]:
    row = log.event(event_id)
    assert row is not None
    return {name: row[name] for name in REVIEW_COLUMNS}


def test_review_is_stored_beside_the_model_label(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write_updates([WAVE, logged("run", 9.0, 10.0)])
        assert review_of(log) == NO_REVIEW
        log.review(ID, Review("corrected", NASTY, "two\nlines; " + NASTY, "anna"), LATER)
        row, other = log.rows()
    assert (row["label"], row["verdict"], row["corrected"]) == ("wave", "corrected", NASTY)
    assert row["note"] == "two\nlines; " + NASTY
    assert (row["reviewed_by"], row["reviewed_at"]) == ("anna", "2026-02-01T23:59:50.000Z")
    assert {name: other[name] for name in REVIEW_COLUMNS} == NO_REVIEW


def test_review_replaces_the_previous_one_and_can_be_undone(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write_updates([WAVE])
        log.review(ID, Review("corrected", "hop", "sure", "anna"), START_UTC)
        log.review(ID, Review("rejected", by="ben"), LATER)
        assert review_of(log) == {
            "verdict": "rejected",
            "corrected": "",
            "note": "",
            "reviewed_by": "ben",
            "reviewed_at": "2026-02-01T23:59:50.000Z",
        }
        log.review(ID, Review(note="look again", by="anna"), LATER)  # without a verdict
        assert (review_of(log)["note"], review_of(log)["reviewed_by"]) == ("look again", "anna")
        log.review(ID, Review(by="anna"), LATER)
        assert review_of(log) == NO_REVIEW


def test_event_updates_do_not_change_the_review(tmp_path: Path) -> None:
    closed = replace(WAVE, event=replace(WAVE.event, end_s=4.0))
    with EventLog.create(tmp_path) as log:
        log.write_updates([WAVE])
        log.review(ID, Review("confirmed", note="while it was open", by="anna"), START_UTC)
        before = review_of(log)
        log.write_updates([WAVE, EventMedia(ID, "clip.mp4", "snap.jpg", "", 1.5), closed])
        log.write_updates([WAVE])  # late
        assert review_of(log) == before
        assert log.event(ID)["clip_start_s"] == 1.5  # type: ignore[index]
    with EventLog.create(tmp_path / "killed") as log:
        log.write_updates([WAVE])
        log.review(ID, Review("rejected"), START_UTC)
    with EventLog.create(tmp_path / "killed") as log:
        assert (log.event(ID)["closed_by"], review_of(log)["verdict"]) == ("crash", "rejected")  # type: ignore[index]


def test_unknown_event_is_an_error(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        assert log.event("none") is None
        with pytest.raises(UnknownEventError, match=r"event none is not in .*events\.sqlite"):
            log.review("none", Review("confirmed"), START_UTC)


def test_open_event_of_a_killed_run_is_the_same_alone_and_in_lists(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write_updates([WAVE])
    with EventLog.open(tmp_path) as log:
        assert [log.event(ID)] == list(log.rows()) == log.page()
        assert log.event(ID)["closed_by"] == "crash"  # type: ignore[index]


def test_review_that_the_database_rejects_is_an_error(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write_updates([WAVE])
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute(
            "CREATE TRIGGER none BEFORE UPDATE ON events BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
    with (
        EventLog.open(tmp_path) as log,
        pytest.raises(EventLogError, match=r"events\.sqlite can't be used: no"),
    ):
        log.review(ID, Review("confirmed"), START_UTC)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"verdict": "maybe"}, "'maybe' must be one of confirmed, corrected, rejected"),
        ({"verdict": "corrected"}, "needs the right label"),
        ({"verdict": "corrected", "corrected": " "}, "needs the right label"),
        ({"verdict": "confirmed", "corrected": "hop"}, "other verdicts have none"),
        ({"corrected": "hop"}, "other verdicts have none"),
        ({"note": "x" * 2001}, "the note may have 2000 characters, got 2001"),
        ({"verdict": "corrected", "corrected": "x" * 201}, "label may have 200 characters"),
        ({"by": "x" * 201}, "the reviewer's name may have 200"),
        ({"note": "a\0b"}, "the note contains characters that are not text"),
        ({"note": "\ud800"}, "the note contains characters that are not text"),
    ],
)
def test_invalid_review_is_rejected(values: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Review(**values)
    assert "\n" not in str(error.value)


def test_log_of_version_2_gets_review_columns(tmp_path: Path) -> None:
    EventLog.create(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:  # back to version 2
        connection.executescript(
            "DROP INDEX ix_events_shown; CREATE INDEX ix_events_start ON events (start)"
        )
        for name in (*REVIEW_COLUMNS, "clip_start_s"):
            connection.execute(f"ALTER TABLE events DROP COLUMN {name}")
        connection.executescript(
            """UPDATE actionwatch_schema SET version = 2; PRAGMA user_version = 2;
            INSERT INTO events VALUES ('a', 'r', 'door', 'wave', '2026-02-01T00:00:00.500Z',
                '2026-02-01T00:00:02.500Z', 2.0, 4.0, '2026-02-01T00:00:02.500Z', 4.0, 0.9, 0.7,
                'motion', '', '', '2026-02-01T00:00:01.000Z', 'a.mp4', 'a.jpg', '', 2.5, 3.0)"""
        )
    with EventLog.open(tmp_path) as log:
        (row,) = log.rows()
        assert (row["clip"], row["clip_start_s"]) == ("a.mp4", None)
        assert review_of(log, "a") == NO_REVIEW
        log.review("a", Review("confirmed"), START_UTC)
        assert review_of(log, "a")["verdict"] == "confirmed"
