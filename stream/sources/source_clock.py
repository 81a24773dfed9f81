"""The clock of a live camera: presentation times if they can be trusted, else arrival times.

Pure: it gets times from the caller and reads no clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

_JUMP_BACK_S = 0.5  # less is two frames in the wrong order
_JUMP_AHEAD_S = 2.0  # more than has passed since the previous frame
_MAX_JUMPS, _JUMPS_WITHIN_S = 5, 60.0
_MAX_REPEATS = 10  # frames with one and the same time, from the first one on
_BACKLOG_RATE = 1.5  # frames that arrive this much faster than real time waited in a buffer
_MAX_DRAIN_S = 3.0
_LATE_S = 2.0
_CATCHING_UP_S = 0.2  # in a second, or it is no backlog
_DRIFT = 0.001  # by which a camera's clock may run slower than ours
_NEXT_S = 1e-6


class SourceClock:
    """Times of one camera's frames, in seconds since its first one; they never decrease.

    The presentation time says when a frame was recorded, the arrival time when it got here. The
    smallest difference (arrival minus presentation) is the camera's time 0 on our clock
    (`started_at`). `count` is called with the name of each anomaly:
    `stale_frames_dropped` (they waited in a buffer, and fresher ones follow),
    `repeated_frames` and `misordered_frames` (nothing new), `clock_jumps` (the camera's clock was
    set, wrapped or stopped: a new offset is computed) and `untrusted_timestamps` (the clock jumps
    too often, or has never moved, so that arrival times are used instead).
    """

    def __init__(self, *, count: Callable[[str], None] = lambda name: None) -> None:
        self.started_at: float | None = None  # monotonic seconds of time 0
        self._count = count
        self._last_s = -math.inf
        self.on_open()

    def on_open(self) -> None:
        """The source was (re)opened: its presentation times are unrelated to those before."""
        self._trusted = True
        self._before: tuple[float, float] | None = None  # presented, arrived
        self._opened_at = 0.0
        self._draining = True
        self._moved = False
        self._repeats = 0
        self._offset_s: float | None = None  # from presentation time to ours
        self._late: tuple[float, float] | None = None  # since when, and the lag at that moment
        self._jumped_at: deque[float] = deque(maxlen=_MAX_JUMPS)

    def tick(self, presented_s: float | None, arrived_at: float) -> float | None:
        """Time of a frame; None for a frame that must not be used.

        `presented_s` is None if the source has no presentation times; `arrived_at` is monotonic.
        """
        if presented_s is None or not self._trusted:
            return self._emit(self._by_arrival(arrived_at), arrived_at)
        before = self._before
        if before is None:  # only the next frame shows whether this one waited in a buffer
            self._before, self._opened_at = (presented_s, arrived_at), arrived_at
            return None
        step_s, gap_s = presented_s - before[0], arrived_at - before[1]
        if step_s == 0:
            return self._on_repeat(arrived_at)
        if -_JUMP_BACK_S < step_s < 0:
            self._count("misordered_frames")
            return None
        self._moved = True
        self._before = (presented_s, arrived_at)
        if step_s < 0 or step_s > gap_s + _JUMP_AHEAD_S:
            return self._on_jump(presented_s, arrived_at)
        if self._draining and self._is_backlog(step_s, gap_s, arrived_at):
            self._count("stale_frames_dropped")
            return None
        if self._offset_s is None:
            self._offset_s = self._by_arrival(arrived_at) - presented_s
        return self._by_presentation(presented_s, arrived_at, gap_s)

    def _by_presentation(self, presented_s: float, arrived_at: float, gap_s: float) -> float | None:
        assert self.started_at is not None
        assert self._offset_s is not None
        time_s, earliest = presented_s + self._offset_s, self.started_at + _DRIFT * gap_s
        lag_s = arrived_at - time_s - earliest
        if lag_s <= _LATE_S:
            self._late = None
            self.started_at = min(arrived_at - time_s, earliest)
            return self._emit(time_s, arrived_at)
        since, lag_then_s = self._late or (arrived_at, lag_s)
        self._late = (since, lag_then_s)
        if arrived_at - since >= 1.0:
            if lag_s > lag_then_s - _CATCHING_UP_S:
                # Dropping frames does not reduce the lag: they are fresh, and their clock is late.
                return self._on_jump(presented_s, arrived_at)
            self._late = (arrived_at, lag_s)
        self._count("stale_frames_dropped")
        return None

    def _by_arrival(self, arrived_at: float) -> float:
        if self.started_at is None:
            self.started_at = arrived_at
        return max(arrived_at - self.started_at, self._last_s + _NEXT_S)

    def _is_backlog(self, step_s: float, gap_s: float, arrived_at: float) -> bool:
        self._draining = (
            step_s > _BACKLOG_RATE * gap_s and arrived_at - self._opened_at < _MAX_DRAIN_S
        )
        return self._draining

    def _on_repeat(self, arrived_at: float) -> float | None:
        self._repeats += 1
        if not self._moved and self._repeats >= _MAX_REPEATS:
            return self._distrust(arrived_at)
        self._count("repeated_frames")
        return None

    def _on_jump(self, presented_s: float, arrived_at: float) -> float | None:
        self._count("clock_jumps")
        self._late = None
        oldest = self._jumped_at[0] if len(self._jumped_at) == _MAX_JUMPS else -math.inf
        self._jumped_at.append(arrived_at)
        if arrived_at - oldest < _JUMPS_WITHIN_S:
            return self._distrust(arrived_at)
        time_s = self._by_arrival(arrived_at)
        self._offset_s = time_s - presented_s
        return self._emit(time_s, arrived_at)

    def _distrust(self, arrived_at: float) -> float | None:
        self._count("untrusted_timestamps")
        self._trusted = False
        return self._emit(self._by_arrival(arrived_at), arrived_at)

    def _emit(self, time_s: float, arrived_at: float) -> float | None:
        if time_s <= self._last_s:  # two frames of one moment
            self._count("misordered_frames")
            return None
        self._last_s = time_s
        return time_s
