"""Which windows of a stream are due; pure."""

from __future__ import annotations

import math


class WindowGrid:
    """The windows of one stream end at whole multiples of the stride, on its camera's clock.

    So they don't depend on when anybody looked, and the same recording has the same windows.
    """

    def __init__(self, stride_s: float) -> None:
        self._stride_s = stride_s
        self._last: int | None = None  # number of the last window that was taken or passed over
        self._gaps = 0

    def due(self, newest_s: float) -> float | None:
        """End of the freshest window that is complete and was not taken yet, in seconds."""
        number = self._number(newest_s)
        if number < 1 or (self._last is not None and number <= self._last):
            return None
        return number * self._stride_s

    def waiting_s(self, newest_s: float) -> float:
        """How long a camera has waited since its next window was complete."""
        if self._last is None:
            return math.inf
        return newest_s - (self._last + 1) * self._stride_s

    def take(self, end_s: float) -> int:
        """Mark the window that ends there as taken. Returns how many were passed over."""
        number = self._number(end_s)
        skipped = 0 if self._last is None else max(0, number - self._last - 1)
        self._last = number
        return skipped

    def heed(self, gaps: int) -> None:
        """After a gap in the source nothing was passed over. `gaps` is how many there were."""
        if gaps != self._gaps:
            self._gaps, self._last = gaps, None

    def _number(self, seconds: float) -> int:
        return math.floor(seconds / self._stride_s + 1e-6)
