from __future__ import annotations

from dataclasses import astuple
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from stream.config.events import EventsConfig
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.replay.replay import replay
from stream.replay.score_table import ScoreTable, read_tables, score_files, stored_streams
from stream.replay.vectorized import Smoother, detect_events
from stream.runtime.metrics import Metrics
from stream.sinks.score_files import quantize
from stream.sinks.score_log import ScoreLog

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def store_scores(
    folder: Path, labels: int, seed: int, *, windows: int = 1500, mean_spell: float = 12.0
) -> list[str]:
    """Store random scores with pauses, gaps, clock steps and windows out of order."""
    rng = np.random.default_rng(seed)
    names = ("still", *(f"label {number}" for number in range(1, labels)))
    spec = ClipSpec("small", names, frozenset({"still"}), 4, 0.4, 8, 8)
    log = ScoreLog(folder, f"{seed:032x}", Metrics())
    log.on_model(spec, ())
    weights, end_s, ahead_s = np.zeros(labels), 0.4, 0.0
    for _ in range(windows):
        end_s += float(rng.choice([0.25, 0.27, 0.8, 6.0, -0.1], p=[0.6, 0.3, 0.08, 0.01, 0.01]))
        if rng.random() < 1 / mean_spell:
            weights = np.zeros(labels)
            weights[rng.integers(labels)] = rng.uniform(1, 6)
        if rng.random() < 0.003:
            ahead_s += 1000.0  # a clock step
        raw = np.exp(weights + rng.normal(0, 0.5, labels))
        probabilities = quantize((raw / raw.sum()).astype(np.float32))
        at_utc = NOON + timedelta(seconds=end_s + ahead_s)
        log.on_prediction(
            Prediction("door", names, probabilities, end_s - 0.4, end_s, 0.0, 0.0), at_utc
        )
        if rng.random() < 0.005:
            log.on_gap("door", end_s, at_utc)
    log.join(0)
    return list(names)


def tables_of(folder: Path) -> list[ScoreTable]:
    files = score_files(folder, "door", since=NOON - DAY, until=NOON + DAY)
    return read_tables(files, until=NOON + DAY, max_windows=10**6)[0]


def detected(folder: Path, policy: EventsConfig) -> list[LoggedEvent]:
    found = []
    for table in tables_of(folder):
        smoother = Smoother(table, policy.smoothing)

        def smoothed(
            label: str, table: ScoreTable = table, smoother: Smoother = smoother
        ) -> np.ndarray:
            return smoother(table.column(label, policy.unknown_below))

        found += detect_events(table, policy, smoothed)
    return found


def random_policy(seed: int, names: list[str]) -> EventsConfig:
    rng = np.random.default_rng(seed)
    threshold = float(rng.uniform(0.2, 0.9))
    return EventsConfig(
        threshold=threshold,
        release_threshold=float(rng.uniform(0.05, threshold)),
        min_duration=float(rng.choice([0.0, 0.5, 2.0])),
        merge_gap=float(rng.choice([0.0, 1.0, 4.0])),
        cooldown=float(rng.choice([0.0, 3.0, 30.0])),
        smoothing=float(rng.choice([0.0, 0.3, 2.0])),
        unknown_below=float(rng.choice([0.3, 0.5])) if rng.random() < 0.3 else None,
        exclude=frozenset(names[1:2]) if rng.random() < 0.3 else frozenset(),
        include=frozenset(names[1:4]) if rng.random() < 0.3 else None,
        labels={names[2]: {"threshold": 0.95, "min_duration": 1.0, "cooldown": 5.0}},  # type: ignore[dict-item]
    )


@pytest.mark.parametrize("labels", [5, 60], ids=["all labels", "top labels"])
@pytest.mark.parametrize("seed", range(12))
def test_vectorized_detector_gives_the_same_events(tmp_path: Path, labels: int, seed: int) -> None:
    names = store_scores(tmp_path, labels, seed)
    for policy in (random_policy(100 * seed + number, names) for number in range(6)):
        one_by_one = {one.event.id: one for one in replay(tmp_path, policy).events}
        vectorized = {one.event.id: one for one in detected(tmp_path, policy)}
        assert vectorized.keys() == one_by_one.keys()
        for key, one in vectorized.items():
            other = one_by_one[key]
            assert one.event.closed_by == other.event.closed_by
            # Without the time of the peak: rounding may select another of equal peaks.
            assert astuple(one.event)[3:8] == pytest.approx(astuple(other.event)[3:8], rel=1e-9)
            assert one.event.mean == pytest.approx(other.event.mean)
            assert abs(one.start_utc - other.start_utc) < timedelta(milliseconds=1)


def test_newest_windows_are_read_and_truncation_is_reported(tmp_path: Path) -> None:
    store_scores(tmp_path, 5, 1)
    files = score_files(tmp_path, "door", since=NOON - DAY, until=NOON + DAY)
    (whole,), is_truncated = read_tables(files, until=NOON + DAY, max_windows=10**6)
    assert not is_truncated
    (part,), is_truncated = read_tables(files, until=NOON + DAY, max_windows=100)
    assert is_truncated
    assert 90 <= len(part) <= 100  # some are out of order
    assert part.end_s[-1] == whole.end_s[-1]


def test_corrupted_files_are_skipped(tmp_path: Path) -> None:
    store_scores(tmp_path, 5, 1)
    file = score_files(tmp_path, "door", since=NOON - DAY, until=NOON + DAY)[0]
    file.write_bytes(file.read_bytes()[:-7])
    (tmp_path / "scores" / "door" / "20260501T130000-x.scores").write_bytes(b"nonsense")
    (table,) = tables_of(tmp_path)
    assert len(table) > 1000
    assert stored_streams(tmp_path) == ["door"]
