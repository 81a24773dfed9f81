from __future__ import annotations

import pytest

from stream.runtime.metrics import Metrics, Percentiles, summary


def test_counters_have_names_and_cameras() -> None:
    metrics = Metrics()
    metrics.count("frames", "a", 3)
    metrics.count("frames", "b")
    metrics.count("late_results")
    assert metrics.total("frames") == 4
    assert metrics.totals() == {"frames": 4, "late_results": 1}
    assert metrics.totals("a") == {"frames": 3}


def test_rate_covers_the_last_seconds(clock) -> None:
    metrics = Metrics(now=clock)
    for _ in range(40):
        clock.seconds += 0.1
        metrics.count("frames", "a")
    assert metrics.rate("frames", "a") == pytest.approx(10, abs=0.5)
    clock.seconds += 10
    assert metrics.rate("frames", "a") == 0
    assert metrics.rate("frames", "b") == 0


def test_percentiles_of_durations(clock) -> None:
    metrics = Metrics(now=clock)
    assert metrics.percentiles("age") == Percentiles(None, None)
    for age in range(101):
        metrics.measure("age", age / 1000)
    assert metrics.percentiles("age") == Percentiles(pytest.approx(0.05), pytest.approx(0.095))
    metrics.measure("age", 1000.0)
    before = metrics.percentiles("age", max_age_s=1.0)
    assert before.p50 == pytest.approx(0.05)
    clock.seconds += 2
    assert metrics.percentiles("age", max_age_s=1.0).p50 == pytest.approx(0.0505)


def test_only_the_latest_durations_count(clock) -> None:
    metrics = Metrics(now=clock)
    for age in [1000.0] * 30_000 + [1.0] * 20_000:
        metrics.measure("age", age)
    assert metrics.percentiles("age") == Percentiles(1.0, 1.0)


def test_summary_names_every_drop() -> None:
    metrics = Metrics()
    metrics.count("frames", by=10)
    metrics.count("lost_windows", "a", 2)
    metrics.measure("age", 0.2)
    metrics.measure("inference", 0.05)
    text = summary(metrics)
    assert "10 frames, 0 windows scored, 0 skipped, 0 events" in text
    assert "p50 200 ms, p95 200 ms" in text
    assert "inference p50 50 ms" in text
    assert "windows lost 2" in text
