"""`actionwatch events replay`, through the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.messages import ClipSpec, LoggedEvent, Prediction, Review
from stream.runtime.metrics import Metrics
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.score_files import quantize
from stream.sinks.score_log import ScoreLog

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
Replay = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path, spec: ClipSpec) -> Path:
    """A log with jumps at 10 s (score 0.95) and 30 s (0.7), and the scores of that minute."""
    folder = tmp_path / "data"
    with EventLog.create(folder) as log:
        scores = ScoreLog(folder, log.run, Metrics())
        scores.on_model(spec, ())
        detector = Detector("door", EventsConfig(), spec.background)
        events = []
        for step in range(1, 241):
            at_s = step * 0.25
            jump = 0.95 if 10 <= at_s < 13 else 0.7 if 30 <= at_s < 33 else 0.02
            shares = quantize(np.array([1 - jump, jump, 0.0], np.float32))
            one = Prediction("door", spec.labels, shares, at_s - 0.15, at_s + 0.15, 0.0, 0.0)
            scores.on_prediction(one, NOON + timedelta(seconds=one.end_s))
            events += detector.update(one)
        scores.join(0)
        log.write_updates(
            [LoggedEvent(one, "end", NOON, spec.model) for one in events if one.end_s]
        )
    return folder


@pytest.fixture
def replay(tmp_path: Path, data: Path) -> Replay:
    def run(events: str, *more: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "config.yaml"
        file.write_text(f"events: {events}\n")
        command = [sys.executable, "-m", "ui.cli", "events", "replay", "--data", str(data)]
        return subprocess.run(
            [*command, "--config", str(file), *more],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def labels(data: Path) -> list[tuple[str, float]]:
    with EventLog.open(data) as log:
        return [(row["label"], round(row["start_s"])) for row in log.rows()]


def test_changes_are_shown_and_not_written(replay: Replay, data: Path) -> None:
    done = replay("{threshold: 0.8}")
    assert done.returncode == 0
    change, total = done.stdout.splitlines()
    assert change.startswith("- 2026-05-01T12:00:30.")
    assert "door" in change
    assert total == ("0 added, 1 lost, 0 moved, 1 unchanged; nothing was written: use --apply")
    assert labels(data) == [("jump", 10), ("jump", 30)]


def test_apply_changes_the_log(replay: Replay, data: Path) -> None:
    done = replay("{threshold: 0.8}", "--apply")
    assert done.stdout.splitlines()[-1] == "0 added, 1 lost, 0 moved, 1 unchanged"
    assert labels(data) == [("jump", 10)]
    back = replay("{}", "--apply")
    assert back.stdout.splitlines()[-1] == "1 added, 0 lost, 0 moved, 1 unchanged"
    assert labels(data) == [("jump", 10), ("jump", 30)]
    again = replay("{}", "--apply")
    assert again.stdout == "0 added, 0 lost, 0 moved, 2 unchanged\n"


def test_reviewed_events_are_not_changed(replay: Replay, data: Path) -> None:
    with EventLog.open(data) as log:
        high, low = log.rows()
        log.review(low["id"], Review("confirmed"), NOON)
        log.review(high["id"], Review("rejected"), NOON)
    done = replay("{threshold: 0.8, release_threshold: 0.7}", "--apply")
    assert done.stdout == (
        "0 added, 0 lost, 0 moved, 0 unchanged, 2 not changed because they are reviewed\n"
    )
    with EventLog.open(data) as log:
        assert [(row["start"], row["end"]) for row in log.rows()] == [
            (row["start"], row["end"]) for row in (high, low)
        ]
        log.review(low["id"], Review(), NOON)
    undone = replay("{threshold: 0.8, release_threshold: 0.7}", "--apply")
    assert undone.stdout.splitlines()[-1] == (
        "0 added, 1 lost, 0 moved, 0 unchanged, 1 not changed because they are reviewed"
    )
    assert labels(data) == [("jump", 10)]


def test_since_limits_the_events(replay: Replay, data: Path) -> None:
    done = replay("{threshold: 0.99}", "--since", "2026-05-01T12:00:20Z")
    assert done.stdout.splitlines()[-1].startswith("0 added, 1 lost, 0 moved, 0 unchanged")


@pytest.mark.parametrize(
    ("events", "more", "message"),
    [
        ("{entre: 0.5}", (), "unknown key 'events.entre'"),
        ("{}", ("--since", "yesterday"), "--since yesterday: must be a time like"),
        ("{}", ("--since", "2030-01-01"), "no scores were stored since then"),
    ],
)
def test_errors_are_one_line(
    replay: Replay, events: str, more: tuple[str, ...], message: str
) -> None:
    done = replay(events, *more)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
