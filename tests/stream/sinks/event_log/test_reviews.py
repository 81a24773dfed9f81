"""What people say of events, in the event log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.messages import Recorded, Review
from stream.sinks.event_log.database import FILE, REVIEWED, EventLogError, UnknownEventError
from stream.sinks.event_log.event_log import EventLog
from tests.event_samples import BEGAN, NASTY, logged

LATER = BEGAN + timedelta(days=1)
WAVE = logged("wave", 2.0, None)
ID = WAVE.event.id
NOTHING = dict.fromkeys(REVIEWED, "")


def said(log: EventLog, event_id: str = ID) -> dict[str, Any]:
    row = log.event(event_id)
    assert row is not None
    return {name: row[name] for name in REVIEWED}


def test_a_review_stands_beside_what_the_model_said(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.save([WAVE, logged("run", 9.0, 10.0)])
        assert said(log) == NOTHING
        log.review(ID, Review("corrected", NASTY, "two\nlines; " + NASTY, "anna"), LATER)
        row, other = log.rows()
    assert (row["label"], row["verdict"], row["corrected"]) == ("wave", "corrected", NASTY)
    assert row["note"] == "two\nlines; " + NASTY
    assert (row["reviewed_by"], row["reviewed_at"]) == ("anna", "2026-02-01T23:59:50.000Z")
    assert {name: other[name] for name in REVIEWED} == NOTHING


def test_a_review_takes_the_place_of_the_one_before_and_can_be_taken_back(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.save([WAVE])
        log.review(ID, Review("corrected", "hop", "sure", "anna"), BEGAN)
        log.review(ID, Review("rejected", by="ben"), LATER)
        assert said(log) == {
            "verdict": "rejected",
            "corrected": "",
            "note": "",
            "reviewed_by": "ben",
            "reviewed_at": "2026-02-01T23:59:50.000Z",
        }
        log.review(ID, Review(note="look again", by="anna"), LATER)  # without a verdict
        assert (said(log)["note"], said(log)["reviewed_by"]) == ("look again", "anna")
        log.review(ID, Review(by="anna"), LATER)
        assert said(log) == NOTHING


def test_no_news_of_an_event_change_what_a_person_said(tmp_path: Path) -> None:
    closed = replace(WAVE, event=replace(WAVE.event, end_s=4.0))
    with EventLog.create(tmp_path) as log:
        log.save([WAVE])
        log.review(ID, Review("confirmed", note="while it went on", by="anna"), BEGAN)
        before = said(log)
        log.save([WAVE, Recorded(ID, "clip.mp4", "snap.jpg", "", 1.5), closed])
        log.save([WAVE])  # late
        assert said(log) == before
        assert log.event(ID)["clip_start_s"] == 1.5  # type: ignore[index]
    with EventLog.create(tmp_path / "killed") as log:
        log.save([WAVE])
        log.review(ID, Review("rejected"), BEGAN)
    with EventLog.create(tmp_path / "killed") as log:
        assert (log.event(ID)["closed_by"], said(log)["verdict"]) == ("crash", "rejected")  # type: ignore[index]


def test_an_event_that_is_not_there_is_told(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        assert log.event("none") is None
        with pytest.raises(UnknownEventError, match=r"event none is not in .*events\.sqlite"):
            log.review("none", Review("confirmed"), BEGAN)


def test_an_open_event_of_a_killed_run_reads_alone_as_in_the_list(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.save([WAVE])
    with EventLog.open(tmp_path) as log:
        assert [log.event(ID)] == list(log.rows()) == log.page()
        assert log.event(ID)["closed_by"] == "crash"  # type: ignore[index]


def test_a_review_that_the_database_refuses_is_told(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.save([WAVE])
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute(
            "CREATE TRIGGER none BEFORE UPDATE ON events BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
    with (
        EventLog.open(tmp_path) as log,
        pytest.raises(EventLogError, match=r"events\.sqlite can't be used: no"),
    ):
        log.review(ID, Review("confirmed"), BEGAN)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"verdict": "maybe"}, "'maybe' must be one of confirmed, corrected, rejected"),
        ({"verdict": "corrected"}, "needs the right label"),
        ({"verdict": "corrected", "corrected": " "}, "needs the right label"),
        ({"verdict": "confirmed", "corrected": "hop"}, "other verdicts have none"),
        ({"corrected": "hop"}, "other verdicts have none"),
        ({"note": "x" * 2001}, "the note may have 2000 characters, got 2001"),
        ({"verdict": "corrected", "corrected": "x" * 201}, "label may have 200 characters"),
        ({"by": "x" * 201}, "who reviewed it may have 200"),
        ({"note": "a\0b"}, "the note holds what is no text"),
        ({"note": "\ud800"}, "the note holds what is no text"),
    ],
)
def test_a_review_that_means_nothing_is_refused(values: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told) as error:
        Review(**values)
    assert "\n" not in str(error.value)


def test_a_log_of_version_2_gets_room_for_reviews(tmp_path: Path) -> None:
    EventLog.create(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:  # back to what it was
        connection.executescript(
            "DROP INDEX ix_events_shown; CREATE INDEX ix_events_start ON events (start)"
        )
        for name in (*REVIEWED, "clip_start_s"):
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
        assert said(log, "a") == NOTHING
        log.review("a", Review("confirmed"), BEGAN)
        assert said(log, "a")["verdict"] == "confirmed"
