from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from stream.sources.source_clock import SourceClock


class Told:
    """A clock, and what it counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.clock = SourceClock(count=lambda name: self.counts.update([name]))

    def feed(self, moments: Iterable[tuple[float | None, float]]) -> list[float | None]:
        """(presented, arrived) of pictures -> their times."""
        return [self.clock.tick(presented, arrived) for presented, arrived in moments]

    def used(self, moments: Iterable[tuple[float | None, float]]) -> list[float]:
        return [time_s for time_s in self.feed(moments) if time_s is not None]


@pytest.fixture
def told() -> Told:
    return Told()


def steady(count: int, *, at: float = 100.0, presented: float = 7.0, fps: float = 25.0):
    return [(presented + n / fps, at + n / fps) for n in range(count)]


def test_presentation_times_count_from_the_first_picture_that_is_used(told: Told) -> None:
    jitter = [0.0, 0.01, 0.002, 0.03, 0.0]
    moments = [(p, a + j) for (p, a), j in zip(steady(5), jitter, strict=True)]
    assert told.used(moments) == pytest.approx([0.0, 0.04, 0.08, 0.12])
    assert told.clock.began_at == pytest.approx(100.04, abs=0.001)  # the one that came quickest
    assert told.counts == {}


def test_without_presentation_times_arrival_counts(told: Told) -> None:
    assert told.feed([(None, 100.0), (None, 100.1), (None, 100.1)]) == [
        0.0,
        pytest.approx(0.1),
        pytest.approx(0.1, abs=1e-5),
    ]


def test_pictures_that_waited_in_a_buffer_are_left_out(told: Told) -> None:
    waited = [(n / 25, 100.0 + n / 1000) for n in range(50)]  # two seconds of them at once
    fresh = [(2.0 + n / 25, 100.09 + n / 25) for n in range(10)]
    assert told.feed(waited) == [None] * 50
    assert told.used(fresh) == pytest.approx([n / 25 for n in range(10)])
    assert told.counts == {"drained_frames": 49}


def test_a_backlog_later_on_is_left_out_until_it_is_over(told: Told) -> None:
    told.feed(steady(50))
    # Nothing for five seconds, then all of it at once.
    backlog = [(9.0 + n / 25, 107.0 + n / 1000) for n in range(125)]
    used = told.used(backlog)
    assert told.counts["drained_frames"] == pytest.approx(75, abs=10)
    assert used[-1] == pytest.approx(9.0 + 124 / 25 - 7.04)
    assert told.counts["clock_jumps"] == 0


def test_a_clock_that_is_late_for_good_counts_anew(told: Told) -> None:
    told.feed(steady(50))
    # The camera's own clock stood still for ten seconds; pictures come as they are taken.
    used = told.used([(9.0 + n / 25, 112.0 + n / 25) for n in range(100)])
    assert told.counts["clock_jumps"] == 1
    assert told.counts["drained_frames"] <= 30
    assert used[-1] == pytest.approx(112.0 + 99 / 25 - 100.04, abs=0.1)
    assert used == sorted(used)


@pytest.mark.parametrize("jump_s", [-500.0, 90_000.0])
def test_a_clock_that_was_set_or_wrapped_counts_anew(told: Told, jump_s: float) -> None:
    before = told.used(steady(50))
    after = told.used(steady(50, at=102.0, presented=9.0 + jump_s))
    assert told.counts == {"clock_jumps": 1}
    assert after[0] - before[-1] == pytest.approx(0.04, abs=0.01)
    assert after[-1] - after[0] == pytest.approx(49 / 25)


def test_a_clock_that_jumps_all_the_time_is_not_trusted(told: Told) -> None:
    moments = [(1000.0 * (n % 2), 100.0 + n / 25) for n in range(200)]
    used = told.used(moments)
    assert told.counts["distrusted_clocks"] == 1
    assert used[-1] - used[-100] == pytest.approx(99 / 25)  # by arrival


def test_a_clock_that_never_moves_is_not_trusted(told: Told) -> None:
    used = told.used([(0.0, 100.0 + n / 25) for n in range(60)])
    assert told.counts["distrusted_clocks"] == 1
    assert len(used) >= 45
    assert used[-1] - used[0] == pytest.approx((len(used) - 1) / 25)


def test_a_picture_that_is_shown_again_is_nothing_new(told: Told) -> None:
    told.feed(steady(10))
    assert told.feed([(7.36, 101.0), (7.36, 102.0), (7.34, 103.0)]) == [None] * 3
    assert told.counts == {"repeated_frames": 2, "misordered_frames": 1}


def test_after_it_was_opened_anew_its_time_goes_on(told: Told) -> None:
    before = told.used(steady(50))
    told.clock.begin()
    after = told.used(steady(50, at=130.0, presented=0.0))
    assert after[0] - before[-1] == pytest.approx(130.04 - 101.96, abs=0.01)
    assert told.counts == {}


def test_a_clock_that_goes_wrong_by_little_is_followed(told: Told) -> None:
    # 50 ppm for two days: 8.6 s.
    moments = [(n * 0.99995, 100.0 + n) for n in range(2 * 86_400)]
    used = told.used(moments)
    assert told.counts == {}
    assert told.clock.began_at is not None
    assert told.clock.began_at + used[-1] == pytest.approx(100.0 + 2 * 86_400 - 1, abs=0.1)


@pytest.mark.parametrize("fps", [1, 10, 15, 30, 60])
def test_any_rate_is_as_it_is(told: Told, fps: float) -> None:
    used = told.used(steady(100, fps=fps))
    assert len(used) == 99
    assert told.counts == {}
