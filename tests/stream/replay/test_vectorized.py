from __future__ import annotations

from dataclasses import astuple
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from stream.config.events import EventsConfig
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.replay.replay import replay
from stream.replay.score_table import ScoreTable, kept_streams, read_tables, score_files
from stream.replay.vectorized import Smoother, segment
from stream.runtime.metrics import Metrics
from stream.sinks.score_log import ScoreLog, as_kept

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def keep(
    folder: Path, labels: int, seed: int, *, windows: int = 1500, spells: float = 12.0
) -> list[str]:
    """Scores of a run that come and go, with pauses, breaks and windows that were overtaken."""
    chance = np.random.default_rng(seed)
    names = ("still", *(f"label {number}" for number in range(1, labels)))
    spec = ClipSpec("small", names, frozenset({"still"}), 4, 0.4, 8, 8)
    log = ScoreLog(folder, f"{seed:032x}", spec, Metrics(), gap_s=5.0)
    weights, end_s, ahead_s = np.zeros(labels), 0.4, 0.0
    for _ in range(windows):
        end_s += float(chance.choice([0.25, 0.27, 0.8, 6.0, -0.1], p=[0.6, 0.3, 0.08, 0.01, 0.01]))
        if chance.random() < 1 / spells:
            weights = np.zeros(labels)
            weights[chance.integers(labels)] = chance.uniform(1, 6)
        if chance.random() < 0.003:
            ahead_s += 1000.0  # somebody sets the clock
        raw = np.exp(weights + chance.normal(0, 0.5, labels))
        shares = as_kept((raw / raw.sum()).astype(np.float32))
        at_utc = NOON + timedelta(seconds=end_s + ahead_s)
        log.put(Prediction("door", names, shares, end_s - 0.4, end_s, 0.0, 0.0), at_utc)
        if chance.random() < 0.005:
            log.put_break("door", end_s, at_utc)
    log.close_all()
    return list(names)


def tables_of(folder: Path) -> list[ScoreTable]:
    files = score_files(folder, "door", since=NOON - DAY, until=NOON + DAY)
    return read_tables(files, until=NOON + DAY, most=10**6)[0]


def segmented(folder: Path, policy: EventsConfig) -> list[LoggedEvent]:
    found = []
    for table in tables_of(folder):
        smoother = Smoother(table, policy.smoothing)

        def smoothed(
            label: str, table: ScoreTable = table, smoother: Smoother = smoother
        ) -> np.ndarray:
            return smoother(table.column(label, policy.unknown))

        found += segment(table, policy, smoothed)
    return found


def policy_of(seed: int, names: list[str]) -> EventsConfig:
    chance = np.random.default_rng(seed)
    enter = float(chance.uniform(0.2, 0.9))
    return EventsConfig(
        enter=enter,
        leave=float(chance.uniform(0.05, enter)),
        minimum=float(chance.choice([0.0, 0.5, 2.0])),
        merge_gap=float(chance.choice([0.0, 1.0, 4.0])),
        cool_down=float(chance.choice([0.0, 3.0, 30.0])),
        smoothing=float(chance.choice([0.0, 0.3, 2.0])),
        unknown=float(chance.choice([0.3, 0.5])) if chance.random() < 0.3 else None,
        ignore=frozenset(names[1:2]) if chance.random() < 0.3 else frozenset(),
        watch=frozenset(names[1:4]) if chance.random() < 0.3 else None,
        labels={names[2]: {"enter": 0.95, "minimum": 1.0, "cool_down": 5.0}},  # type: ignore[dict-item]
    )


@pytest.mark.parametrize("labels", [5, 60], ids=["all kept", "the likeliest kept"])
@pytest.mark.parametrize("seed", range(12))
def test_columns_make_the_events_that_a_detector_makes_one_by_one(
    tmp_path: Path, labels: int, seed: int
) -> None:
    names = keep(tmp_path, labels, seed)
    for policy in (policy_of(100 * seed + number, names) for number in range(6)):
        one_by_one = {one.event.id: one for one in replay(tmp_path, policy).events}
        at_once = {one.event.id: one for one in segmented(tmp_path, policy)}
        assert at_once.keys() == one_by_one.keys()
        for key, one in at_once.items():
            other = one_by_one[key]
            assert one.event.closed_by == other.event.closed_by
            # Not when the peak was: of equal ones, rounding may choose another.
            assert astuple(one.event)[3:8] == pytest.approx(astuple(other.event)[3:8], rel=1e-9)
            assert one.event.mean == pytest.approx(other.event.mean)
            assert abs(one.began_utc - other.began_utc) < timedelta(milliseconds=1)


def test_the_newest_windows_count_and_it_is_said_that_there_are_older_ones(tmp_path: Path) -> None:
    keep(tmp_path, 5, 1)
    files = score_files(tmp_path, "door", since=NOON - DAY, until=NOON + DAY)
    (whole,), is_cut = read_tables(files, until=NOON + DAY, most=10**6)
    assert not is_cut
    (part,), is_cut = read_tables(files, until=NOON + DAY, most=100)
    assert is_cut
    assert 90 <= len(part) <= 100  # some were overtaken
    assert part.end_s[-1] == whole.end_s[-1]


def test_what_is_damaged_is_left_out(tmp_path: Path) -> None:
    keep(tmp_path, 5, 1)
    file = score_files(tmp_path, "door", since=NOON - DAY, until=NOON + DAY)[0]
    file.write_bytes(file.read_bytes()[:-7])
    (tmp_path / "scores" / "door" / "20260501T130000-x.scores").write_bytes(b"nonsense")
    (table,) = tables_of(tmp_path)
    assert len(table) > 1000
    assert kept_streams(tmp_path) == ["door"]
