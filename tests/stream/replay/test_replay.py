from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.messages import ClipSpec, Event, LoggedEvent, Prediction
from stream.replay.replay import compare, replay
from stream.runtime.metrics import Metrics
from stream.sinks.event_log.rows import as_row
from stream.sinks.score_log import ScoreLog, as_kept

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
FAIRLY, SURE = 0.7, 0.95


@pytest.fixture
def watched(tmp_path: Path, spec: ClipSpec) -> list[dict[str, Any]]:
    """A run of a minute that keeps its scores in `tmp_path`; the rows that it logged.

    At 10 s a sure jump of 3 s, at 30 s a fair one of 3 s, and at 50 s one that goes on.
    """
    scores = ScoreLog(tmp_path, "a" * 32, spec, Metrics(), gap_s=5.0)
    detector = Detector("door", EventsConfig(), spec.background)
    events: list[Event] = []
    for step in range(1, 241):
        at_s = step * 0.25
        jump = SURE if 10 <= at_s < 13 or at_s >= 50 else FAIRLY if 30 <= at_s < 33 else 0.02
        shares = np.array([1 - jump, jump, 0.0], np.float32)
        one = Prediction("door", spec.labels, as_kept(shares), at_s - 0.15, at_s + 0.15, 0.0, 0.0)
        scores.put(one, NOON + timedelta(seconds=one.end_s))
        events += detector.update(one)
    scores.close_all()
    events += detector.flush("stop")
    return [
        as_row(LoggedEvent(event, "end", NOON, spec.model))
        for event in events
        if event.end_s is not None
    ]


def test_the_same_policy_makes_the_same_events(
    tmp_path: Path, watched: list[dict[str, Any]]
) -> None:
    difference = compare(watched, replay(tmp_path, EventsConfig()))
    assert (difference.added, difference.lost, difference.moved) == ((), (), ())
    assert difference.same == 3


def test_a_stricter_policy_loses_events_and_a_laxer_one_adds_them(
    tmp_path: Path, watched: list[dict[str, Any]]
) -> None:
    strict = compare(watched, replay(tmp_path, EventsConfig(enter=0.8)))
    assert [row["start_s"] for row in strict.lost] == [pytest.approx(30, abs=0.5)]
    only_sure = [row for row in watched if row["peak"] > 0.8]
    lax = compare(only_sure, replay(tmp_path, EventsConfig()))
    assert [logged.event.start_s for logged in lax.added] == [pytest.approx(30, abs=0.5)]
    assert lax.lost == ()


def test_an_event_that_moves_stays_the_same_one(
    tmp_path: Path, watched: list[dict[str, Any]]
) -> None:
    difference = compare(watched, replay(tmp_path, EventsConfig(smoothing=2.0)))
    assert difference.moved
    for row, logged in difference.moved:
        assert logged.event.id == row["id"]
        assert as_row(logged)["start"] != row["start"] or as_row(logged)["end"] != row["end"]


def test_since_leaves_out_what_was_before(tmp_path: Path, watched: list[dict[str, Any]]) -> None:
    since = NOON + timedelta(seconds=20)
    found = replay(tmp_path, EventsConfig(), since=since)
    assert len(found.events) == 2
    assert compare(watched, found).same == 2


def test_events_from_before_scores_were_kept_are_left_alone(
    tmp_path: Path, watched: list[dict[str, Any]]
) -> None:
    older = {**watched[0], "id": "b" * 32, "start": "2026-04-01T12:00:00.000Z"}
    older["end"] = "2026-04-01T12:00:03.000Z"
    elsewhere = {**watched[0], "id": "c" * 32, "camera": "yard"}
    difference = compare([older, elsewhere, *watched], replay(tmp_path, EventsConfig()))
    assert difference.lost == ()


def test_replaying_twice_names_events_alike(tmp_path: Path, watched: list[Any]) -> None:
    first, second = (replay(tmp_path, EventsConfig(enter=0.5)) for _ in range(2))
    assert [one.event.id for one in first.events] == [one.event.id for one in second.events]


def kept(folder: Path, spec: ClipSpec, script: list[tuple[float, float, float]], *, gap_s=5.0):
    """Keep scores of jump at these (seconds, share, seconds by which the clock is ahead); the rows
    of a run that saw the same."""
    scores = ScoreLog(folder, "a" * 32, spec, Metrics(), gap_s=gap_s)
    detector = Detector("door", EventsConfig(), spec.background, gap_s=gap_s)
    began: dict[str, datetime] = {}
    rows = []

    def take(events: list[Event], zero: datetime) -> None:
        for event in events:
            of_event = began.setdefault(event.id, zero)
            if event.end_s is not None:
                rows.append(as_row(LoggedEvent(event, "end", of_event, spec.model)))

    zero = NOON
    for at_s, jump, ahead_s in script:
        zero = NOON + timedelta(seconds=ahead_s)
        shares = as_kept(np.array([1 - jump, jump, 0.0], np.float32))
        one = Prediction("door", spec.labels, shares, at_s - 0.15, at_s + 0.15, 0.0, 0.0)
        scores.put(one, zero + timedelta(seconds=one.end_s))
        take(detector.update(one), zero)
    scores.close_all()
    take(detector.flush("stop"), zero)
    return rows


def jumps(until_s: float, *, every_s: float = 10.0) -> list[tuple[float, float]]:
    """A jump of three seconds in each ten."""
    return [
        (step * 0.25, SURE if step * 0.25 % every_s < 3 else 0.02)
        for step in range(1, int(until_s * 4))
    ]


def test_events_of_a_time_whose_scores_are_gone_are_left_alone(
    tmp_path: Path, spec: ClipSpec
) -> None:
    script = [(at_s, share, 0.0) for at_s, share in jumps(100)]
    rows = kept(tmp_path / "whole", spec, script)
    kept(tmp_path / "holed", spec, [one for one in script if not 31 < one[0] < 62])
    difference = compare(rows, replay(tmp_path / "holed", EventsConfig()))
    assert (difference.lost, difference.added) == ((), ())
    assert difference.same >= 6


@pytest.mark.parametrize("ahead_s", [-1000.0, 1000.0])
def test_a_clock_that_was_set_changes_nothing(
    tmp_path: Path, spec: ClipSpec, ahead_s: float
) -> None:
    script = [(at_s, share, ahead_s if at_s > 41.5 else 0.0) for at_s, share in jumps(100)]
    rows = kept(tmp_path, spec, script)
    difference = compare(rows, replay(tmp_path, EventsConfig()))
    assert (difference.added, difference.lost, difference.moved) == ((), (), ())
    assert difference.same >= 9


def test_where_all_events_were_closed_because_nothing_came_they_are_closed_again(
    tmp_path: Path, spec: ClipSpec
) -> None:
    """The answers came late: by the camera's clock there is no gap, by the machine's there was."""
    scores = ScoreLog(tmp_path, "a" * 32, spec, Metrics(), gap_s=5.0)
    for step in range(4, 80):
        at_s = step * 0.25
        shares = as_kept(np.array([0.05, 0.95, 0.0], np.float32))
        one = Prediction("door", spec.labels, shares, at_s - 0.15, at_s + 0.15, 0.0, 0.0)
        scores.put(one, NOON + timedelta(seconds=one.end_s))
        if step == 40:
            scores.put_break("door", one.end_s, NOON + timedelta(seconds=one.end_s + 6))
    scores.close_all()
    first, second = replay(tmp_path, EventsConfig()).events
    assert (first.event.closed_by, second.event.closed_by) == ("gap", "stop")
    assert first.event.end_s == second.event.start_s == pytest.approx(10.15)


def test_a_label_that_the_model_does_not_have_is_a_mistake(
    tmp_path: Path, watched: list[dict[str, Any]]
) -> None:
    with pytest.raises(ValueError, match="model small has no label 'juggle'; it has still, jump"):
        replay(tmp_path, EventsConfig(watch=frozenset({"juggle"})))


def test_a_day_of_events_is_compared_in_no_time(tmp_path: Path, spec: ClipSpec) -> None:
    rows = kept(tmp_path, spec, [(at_s, share, 0.0) for at_s, share in jumps(4000, every_s=6.0)])
    assert len(rows) > 600
    difference = compare(rows, replay(tmp_path, EventsConfig()))
    assert difference.same == len(rows)
