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
from stream.sinks.score_files import quantize
from stream.sinks.score_log import ScoreLog

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
UNSURE, SURE = 0.7, 0.95


@pytest.fixture
def logged_rows(tmp_path: Path, spec: ClipSpec) -> list[dict[str, Any]]:
    """The logged rows of a run of one minute that stores its scores in `tmp_path`.

    A certain jump of 3 s at 10 s, a less certain one at 30 s, and an open one at 50 s.
    """
    scores = ScoreLog(tmp_path, "a" * 32, Metrics())
    scores.on_model(spec, ())
    detector = Detector("door", EventsConfig(), spec.background)
    events: list[Event] = []
    for step in range(1, 241):
        at_s = step * 0.25
        jump = SURE if 10 <= at_s < 13 or at_s >= 50 else UNSURE if 30 <= at_s < 33 else 0.02
        probabilities = np.array([1 - jump, jump, 0.0], np.float32)
        one = Prediction(
            "door", spec.labels, quantize(probabilities), at_s - 0.15, at_s + 0.15, 0.0, 0.0
        )
        scores.on_prediction(one, NOON + timedelta(seconds=one.end_s))
        events += detector.update(one)
    scores.join(0)
    events += detector.flush("stop")
    return [
        as_row(LoggedEvent(event, "end", NOON, spec.model))
        for event in events
        if event.end_s is not None
    ]


def test_same_policy_gives_the_same_events(
    tmp_path: Path, logged_rows: list[dict[str, Any]]
) -> None:
    difference = compare(logged_rows, replay(tmp_path, EventsConfig()))
    assert (difference.added, difference.removed, difference.moved) == ((), (), ())
    assert difference.same == 3


def test_stricter_policy_removes_events_and_laxer_policy_adds_them(
    tmp_path: Path, logged_rows: list[dict[str, Any]]
) -> None:
    strict = compare(logged_rows, replay(tmp_path, EventsConfig(threshold=0.8)))
    assert [row["start_s"] for row in strict.removed] == [pytest.approx(30, abs=0.5)]
    only_sure = [row for row in logged_rows if row["peak"] > 0.8]
    lax = compare(only_sure, replay(tmp_path, EventsConfig()))
    assert [logged.event.start_s for logged in lax.added] == [pytest.approx(30, abs=0.5)]
    assert lax.removed == ()


def test_moved_event_has_the_same_id(tmp_path: Path, logged_rows: list[dict[str, Any]]) -> None:
    difference = compare(logged_rows, replay(tmp_path, EventsConfig(smoothing=2.0)))
    assert difference.moved
    for row, logged in difference.moved:
        assert logged.event.id == row["id"]
        assert as_row(logged)["start"] != row["start"] or as_row(logged)["end"] != row["end"]


def test_since_skips_earlier_events(tmp_path: Path, logged_rows: list[dict[str, Any]]) -> None:
    since = NOON + timedelta(seconds=20)
    found = replay(tmp_path, EventsConfig(), since=since)
    assert len(found.events) == 2
    assert compare(logged_rows, found).same == 2


def test_events_without_scores_do_not_change(
    tmp_path: Path, logged_rows: list[dict[str, Any]]
) -> None:
    older = {**logged_rows[0], "id": "b" * 32, "start": "2026-04-01T12:00:00.000Z"}
    older["end"] = "2026-04-01T12:00:03.000Z"
    elsewhere = {**logged_rows[0], "id": "c" * 32, "camera": "yard"}
    difference = compare([older, elsewhere, *logged_rows], replay(tmp_path, EventsConfig()))
    assert difference.removed == ()


def test_two_replays_give_the_same_ids(tmp_path: Path, logged_rows: list[Any]) -> None:
    first, second = (replay(tmp_path, EventsConfig(threshold=0.5)) for _ in range(2))
    assert [one.event.id for one in first.events] == [one.event.id for one in second.events]


def store_run(folder: Path, spec: ClipSpec, script: list[tuple[float, float, float]]):
    """Store scores of a jump: (seconds, probability, seconds by which the clock is ahead).

    Returns the rows that the run logged.
    """
    scores = ScoreLog(folder, "a" * 32, Metrics())
    scores.on_model(spec, ())
    detector = Detector("door", EventsConfig(), spec.background)
    start_utc_of: dict[str, datetime] = {}
    rows = []

    def collect(events: list[Event], zero: datetime) -> None:
        for event in events:
            first_utc = start_utc_of.setdefault(event.id, zero)
            if event.end_s is not None:
                rows.append(as_row(LoggedEvent(event, "end", first_utc, spec.model)))

    zero = NOON
    for at_s, jump, ahead_s in script:
        zero = NOON + timedelta(seconds=ahead_s)
        probabilities = quantize(np.array([1 - jump, jump, 0.0], np.float32))
        one = Prediction("door", spec.labels, probabilities, at_s - 0.15, at_s + 0.15, 0.0, 0.0)
        scores.on_prediction(one, zero + timedelta(seconds=one.end_s))
        collect(detector.update(one), zero)
    scores.join(0)
    collect(detector.flush("stop"), zero)
    return rows


def jumps(until_s: float, *, period_s: float = 10.0) -> list[tuple[float, float]]:
    """A jump of three seconds in each period."""
    return [
        (step * 0.25, SURE if step * 0.25 % period_s < 3 else 0.02)
        for step in range(1, int(until_s * 4))
    ]


def test_events_in_a_gap_of_the_scores_do_not_change(tmp_path: Path, spec: ClipSpec) -> None:
    script = [(at_s, probability, 0.0) for at_s, probability in jumps(100)]
    rows = store_run(tmp_path / "whole", spec, script)
    store_run(tmp_path / "with gap", spec, [one for one in script if not 31 < one[0] < 62])
    difference = compare(rows, replay(tmp_path / "with gap", EventsConfig()))
    assert (difference.removed, difference.added) == ((), ())
    assert difference.same >= 6


@pytest.mark.parametrize("ahead_s", [-1000.0, 1000.0])
def test_clock_step_changes_nothing(tmp_path: Path, spec: ClipSpec, ahead_s: float) -> None:
    script = [
        (at_s, probability, ahead_s if at_s > 41.5 else 0.0) for at_s, probability in jumps(100)
    ]
    rows = store_run(tmp_path, spec, script)
    difference = compare(rows, replay(tmp_path, EventsConfig()))
    assert (difference.added, difference.removed, difference.moved) == ((), (), ())
    assert difference.same >= 9


def test_gap_marks_close_events_in_a_replay(tmp_path: Path, spec: ClipSpec) -> None:
    """Results arrived late: the camera's clock has no gap, but the system clock has one."""
    scores = ScoreLog(tmp_path, "a" * 32, Metrics())
    scores.on_model(spec, ())
    for step in range(4, 80):
        at_s = step * 0.25
        probabilities = quantize(np.array([0.05, 0.95, 0.0], np.float32))
        one = Prediction("door", spec.labels, probabilities, at_s - 0.15, at_s + 0.15, 0.0, 0.0)
        scores.on_prediction(one, NOON + timedelta(seconds=one.end_s))
        if step == 40:
            scores.on_gap("door", one.end_s, NOON + timedelta(seconds=one.end_s + 6))
    scores.join(0)
    first, second = replay(tmp_path, EventsConfig()).events
    assert (first.event.closed_by, second.event.closed_by) == ("gap", "stop")
    assert first.event.end_s == second.event.start_s == pytest.approx(10.15)


def test_unknown_label_is_rejected(tmp_path: Path, logged_rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="model small has no label 'juggle'; it has still, jump"):
        replay(tmp_path, EventsConfig(include=frozenset({"juggle"})))


def test_many_events_are_compared_quickly(tmp_path: Path, spec: ClipSpec) -> None:
    rows = store_run(
        tmp_path,
        spec,
        [(at_s, probability, 0.0) for at_s, probability in jumps(4000, period_s=6.0)],
    )
    assert len(rows) > 600
    difference = compare(rows, replay(tmp_path, EventsConfig()))
    assert difference.same == len(rows)
