"""The clock of a live camera: presentation times where they can be trusted, arrival times else.

Pure: it is told the times, and says what they mean.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

_JUMP_BACK_S = 0.5  # less is two pictures in the wrong order
_JUMP_AHEAD_S = 2.0  # more than has passed since the picture before
_MOST_JUMPS, _JUMPS_WITHIN_S = 5, 60.0
_REPEATS_TO_DISTRUST = 10  # pictures of one and the same time, from the first one on
_BACKLOG_RATE = 1.5  # pictures that come so much faster than they were taken have waited somewhere
_DRAIN_AT_MOST_S = 3.0
_LATE_S = 2.0
_CATCHING_UP_S = 0.2  # in a second, or it is no backlog
_DRIFT = 0.001  # by which a camera's clock may run slower than ours
_NEXT_S = 1e-6


class SourceClock:
    """Times of one camera's pictures, in seconds since its first one; they never go back.

    Presentation times say when a picture was taken, arrival when we had it; the second minus the
    first, at its smallest, is where the camera's time 0 lies on our clock (`began_at`).
    `count` is told by name what was left out or mended:
    `drained_frames` (they had waited in a buffer, fresher ones are behind them),
    `repeated_frames` and `misordered_frames` (nothing new), `clock_jumps` (the camera's clock was
    set, wrapped or stood still: from there on it counts anew) and `distrusted_clocks` (it jumps so
    often, or has never moved, that arrival is used instead).
    """

    def __init__(self, *, count: Callable[[str], None] = lambda name: None) -> None:
        self.began_at: float | None = None  # monotonic seconds of time 0
        self._count = count
        self._last_s = -math.inf
        self.begin()

    def begin(self) -> None:
        """The source was opened anew: its times have nothing to do with those before."""
        self._trusted = True
        self._before: tuple[float, float] | None = None  # presented, arrived
        self._opened_at = 0.0
        self._draining = True
        self._moved = False
        self._repeats = 0
        self._offset_s: float | None = None  # from presentation time to ours
        self._late: tuple[float, float] | None = None  # since when, and by how much then
        self._jumped_at: deque[float] = deque(maxlen=_MOST_JUMPS)

    def tick(self, presented_s: float | None, arrived_at: float) -> float | None:
        """Time of a picture; None for one that is not to be used.

        `presented_s` is None where the source has no such times; `arrived_at` is monotonic.
        """
        if presented_s is None or not self._trusted:
            return self._emit(self._by_arrival(arrived_at), arrived_at)
        before = self._before
        if before is None:  # whether it has waited shows when the next one comes
            self._before, self._opened_at = (presented_s, arrived_at), arrived_at
            return None
        step_s, gap_s = presented_s - before[0], arrived_at - before[1]
        if step_s == 0:
            return self._repeated(arrived_at)
        if -_JUMP_BACK_S < step_s < 0:
            self._count("misordered_frames")
            return None
        self._moved = True
        self._before = (presented_s, arrived_at)
        if step_s < 0 or step_s > gap_s + _JUMP_AHEAD_S:
            return self._jump(presented_s, arrived_at)
        if self._draining and self._has_waited(step_s, gap_s, arrived_at):
            self._count("drained_frames")
            return None
        if self._offset_s is None:
            self._offset_s = self._by_arrival(arrived_at) - presented_s
        return self._by_presentation(presented_s, arrived_at, gap_s)

    def _by_presentation(self, presented_s: float, arrived_at: float, gap_s: float) -> float | None:
        assert self.began_at is not None
        assert self._offset_s is not None
        time_s, earliest = presented_s + self._offset_s, self.began_at + _DRIFT * gap_s
        lag_s = arrived_at - time_s - earliest
        if lag_s <= _LATE_S:
            self._late = None
            self.began_at = min(arrived_at - time_s, earliest)
            return self._emit(time_s, arrived_at)
        since, lag_then_s = self._late or (arrived_at, lag_s)
        self._late = (since, lag_then_s)
        if arrived_at - since >= 1.0:
            if lag_s > lag_then_s - _CATCHING_UP_S:
                # Leaving pictures out brings us no nearer: they are fresh, and their clock is late.
                return self._jump(presented_s, arrived_at)
            self._late = (arrived_at, lag_s)
        self._count("drained_frames")
        return None

    def _by_arrival(self, arrived_at: float) -> float:
        if self.began_at is None:
            self.began_at = arrived_at
        return max(arrived_at - self.began_at, self._last_s + _NEXT_S)

    def _has_waited(self, step_s: float, gap_s: float, arrived_at: float) -> bool:
        self._draining = (
            step_s > _BACKLOG_RATE * gap_s and arrived_at - self._opened_at < _DRAIN_AT_MOST_S
        )
        return self._draining

    def _repeated(self, arrived_at: float) -> float | None:
        self._repeats += 1
        if not self._moved and self._repeats >= _REPEATS_TO_DISTRUST:
            return self._distrust(arrived_at)
        self._count("repeated_frames")
        return None

    def _jump(self, presented_s: float, arrived_at: float) -> float | None:
        self._count("clock_jumps")
        self._late = None
        oldest = self._jumped_at[0] if len(self._jumped_at) == _MOST_JUMPS else -math.inf
        self._jumped_at.append(arrived_at)
        if arrived_at - oldest < _JUMPS_WITHIN_S:
            return self._distrust(arrived_at)
        time_s = self._by_arrival(arrived_at)
        self._offset_s = time_s - presented_s
        return self._emit(time_s, arrived_at)

    def _distrust(self, arrived_at: float) -> float | None:
        self._count("distrusted_clocks")
        self._trusted = False
        return self._emit(self._by_arrival(arrived_at), arrived_at)

    def _emit(self, time_s: float, arrived_at: float) -> float | None:
        if time_s <= self._last_s:  # two pictures of one moment
            self._count("misordered_frames")
            return None
        self._last_s = time_s
        return time_s
