"""Which windows of a stream are due; pure."""

from __future__ import annotations

import math


class WindowGrid:
    """The windows of one stream end at whole multiples of the stride, on its camera's clock.

    They don't depend on when the scheduler polls, so the same video always has the same windows.
    """

    def __init__(self, stride_s: float) -> None:
        self._stride_s = stride_s
        self._last: int | None = None  # index of the last window that was taken or skipped
        self._gaps = 0

    def due(self, newest_s: float) -> float | None:
        """End of the newest window that is complete and not taken yet, in seconds."""
        index = self._index(newest_s)
        if index < 1 or (self._last is not None and index <= self._last):
            return None
        return index * self._stride_s

    def waiting_s(self, newest_s: float) -> float:
        """How long a camera has waited since its next window was complete."""
        if self._last is None:
            return math.inf
        return newest_s - (self._last + 1) * self._stride_s

    def advance_to(self, end_s: float) -> int:
        """Mark the window that ends at `end_s` as taken. Returns the number of skipped windows."""
        index = self._index(end_s)
        skipped = 0 if self._last is None else max(0, index - self._last - 1)
        self._last = index
        return skipped

    def update_gaps(self, gaps: int) -> None:
        """Set the number of gaps in the source so far. No window is skipped across a gap."""
        if gaps != self._gaps:
            self._gaps, self._last = gaps, None

    def set_stride(self, stride_s: float) -> None:
        """Let windows end at multiples of another stride, from the last taken window on."""
        last_end_s = None if self._last is None else self._last * self._stride_s
        self._stride_s = stride_s
        self._last = None if last_end_s is None else self._index(last_end_s)

    def _index(self, seconds: float) -> int:
        return math.floor(seconds / self._stride_s + 1e-6)
