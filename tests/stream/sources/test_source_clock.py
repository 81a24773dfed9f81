from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from stream.sources.source_clock import SourceClock


class CountedClock:
    """A clock with counters of its anomalies."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.clock = SourceClock(count=lambda name: self.counts.update([name]))

    def feed(self, moments: Iterable[tuple[float | None, float]]) -> list[float | None]:
        """(presented, arrived) of frames -> their times."""
        return [self.clock.tick(presented, arrived) for presented, arrived in moments]

    def used(self, moments: Iterable[tuple[float | None, float]]) -> list[float]:
        return [time_s for time_s in self.feed(moments) if time_s is not None]


@pytest.fixture
def counted() -> CountedClock:
    return CountedClock()


def steady(count: int, *, at: float = 100.0, presented: float = 7.0, fps: float = 25.0):
    return [(presented + n / fps, at + n / fps) for n in range(count)]


def test_presentation_times_start_at_the_first_used_frame(counted: CountedClock) -> None:
    jitter = [0.0, 0.01, 0.002, 0.03, 0.0]
    moments = [(p, a + j) for (p, a), j in zip(steady(5), jitter, strict=True)]
    assert counted.used(moments) == pytest.approx([0.0, 0.04, 0.08, 0.12])
    assert counted.clock.started_at == pytest.approx(100.04, abs=0.001)  # the shortest delay
    assert counted.counts == {}


def test_arrival_times_are_used_without_presentation_times(counted: CountedClock) -> None:
    assert counted.feed([(None, 100.0), (None, 100.1), (None, 100.1)]) == [
        0.0,
        pytest.approx(0.1),
        pytest.approx(0.1, abs=1e-5),
    ]


def test_frames_that_waited_in_a_buffer_are_dropped(counted: CountedClock) -> None:
    waited = [(n / 25, 100.0 + n / 1000) for n in range(50)]  # two seconds of frames at once
    fresh = [(2.0 + n / 25, 100.09 + n / 25) for n in range(10)]
    assert counted.feed(waited) == [None] * 50
    assert counted.used(fresh) == pytest.approx([n / 25 for n in range(10)])
    assert counted.counts == {"stale_frames_dropped": 49}


def test_later_backlog_is_dropped_until_it_is_drained(counted: CountedClock) -> None:
    counted.feed(steady(50))
    # No frame for five seconds, then all of them at once.
    backlog = [(9.0 + n / 25, 107.0 + n / 1000) for n in range(125)]
    used = counted.used(backlog)
    assert counted.counts["stale_frames_dropped"] == pytest.approx(75, abs=10)
    assert used[-1] == pytest.approx(9.0 + 124 / 25 - 7.04)
    assert counted.counts["clock_jumps"] == 0


def test_clock_that_stays_late_gets_a_new_offset(counted: CountedClock) -> None:
    counted.feed(steady(50))
    # The camera's clock stopped for ten seconds; frames arrive as they are recorded.
    used = counted.used([(9.0 + n / 25, 112.0 + n / 25) for n in range(100)])
    assert counted.counts["clock_jumps"] == 1
    assert counted.counts["stale_frames_dropped"] <= 30
    assert used[-1] == pytest.approx(112.0 + 99 / 25 - 100.04, abs=0.1)
    assert used == sorted(used)


@pytest.mark.parametrize("jump_s", [-500.0, 90_000.0])
def test_clock_that_was_set_or_wrapped_gets_a_new_offset(
    counted: CountedClock, jump_s: float
) -> None:
    before = counted.used(steady(50))
    after = counted.used(steady(50, at=102.0, presented=9.0 + jump_s))
    assert counted.counts == {"clock_jumps": 1}
    assert after[0] - before[-1] == pytest.approx(0.04, abs=0.01)
    assert after[-1] - after[0] == pytest.approx(49 / 25)


def test_clock_that_keeps_jumping_is_not_trusted(counted: CountedClock) -> None:
    moments = [(1000.0 * (n % 2), 100.0 + n / 25) for n in range(200)]
    used = counted.used(moments)
    assert counted.counts["untrusted_timestamps"] == 1
    assert used[-1] - used[-100] == pytest.approx(99 / 25)  # by arrival


def test_clock_that_never_moves_is_not_trusted(counted: CountedClock) -> None:
    used = counted.used([(0.0, 100.0 + n / 25) for n in range(60)])
    assert counted.counts["untrusted_timestamps"] == 1
    assert len(used) >= 45
    assert used[-1] - used[0] == pytest.approx((len(used) - 1) / 25)


def test_repeated_and_misordered_frames_are_dropped(counted: CountedClock) -> None:
    counted.feed(steady(10))
    assert counted.feed([(7.36, 101.0), (7.36, 102.0), (7.34, 103.0)]) == [None] * 3
    assert counted.counts == {"repeated_frames": 2, "misordered_frames": 1}


def test_time_continues_after_a_reconnect(counted: CountedClock) -> None:
    before = counted.used(steady(50))
    counted.clock.on_open()
    after = counted.used(steady(50, at=130.0, presented=0.0))
    assert after[0] - before[-1] == pytest.approx(130.04 - 101.96, abs=0.01)
    assert counted.counts == {}


def test_slow_clock_drift_is_followed(counted: CountedClock) -> None:
    # 50 ppm for two days: 8.6 s.
    moments = [(n * 0.99995, 100.0 + n) for n in range(2 * 86_400)]
    used = counted.used(moments)
    assert counted.counts == {}
    assert counted.clock.started_at is not None
    assert counted.clock.started_at + used[-1] == pytest.approx(100.0 + 2 * 86_400 - 1, abs=0.1)


@pytest.mark.parametrize("fps", [1, 10, 15, 30, 60])
def test_any_frame_rate_is_preserved(counted: CountedClock, fps: float) -> None:
    used = counted.used(steady(100, fps=fps))
    assert len(used) == 99
    assert counted.counts == {}
