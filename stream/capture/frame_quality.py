"""Detects frames without content: black, frozen, or not decoded. Pure, and cheap."""

from __future__ import annotations

import cv2
import numpy as np

_INTERVAL_S = 0.5
_SIZE = (48, 36)
_DARK = 24  # gray levels; even a covered lens shows more than a lost signal
_FROZEN_AFTER_S = 10.0
_FROZEN = "frozen frame"
_MAX_UNDECODED = 0.3  # fraction of the frame
_GRAY, _GREEN = range(124, 134), (0, 135, 0)  # decoders fill missing data with these


class FrameQualityCheck:
    """Checks two frames a second.

    `fault` is "black frame", "frozen frame" (not a single value has changed for ten seconds:
    cameras have noise), "undecoded frame" (much of it is exactly the fill value of decoders),
    or "". `since_s` is the time of the first frame that had the fault.
    """

    def __init__(self) -> None:
        self.fault = ""
        self.since_s = 0.0
        self._checked_s = -np.inf
        self._before: np.ndarray | None = None
        self._unchanged_since_s = 0.0

    def update(self, pixels: np.ndarray, time_s: float) -> bool:
        """Add a frame, uint8 RGB (H, W, 3). True if it was checked and has a fault."""
        if time_s - self._checked_s < _INTERVAL_S:
            return False
        self._checked_s = time_s
        small = cv2.resize(pixels, _SIZE, interpolation=cv2.INTER_NEAREST)
        if self._before is None or not np.array_equal(small, self._before):
            self._before, self._unchanged_since_s = small, time_s
        fault = self._fault(small, time_s)
        if fault != self.fault:
            self.fault = fault
            self.since_s = self._unchanged_since_s if fault == _FROZEN else time_s
        return bool(fault)

    def _fault(self, small: np.ndarray, time_s: float) -> str:
        if small.max() < _DARK:
            return "black frame"
        if _undecoded_fraction(small) > _MAX_UNDECODED:
            return "undecoded frame"
        if time_s - self._unchanged_since_s >= _FROZEN_AFTER_S:
            return _FROZEN
        return ""


def _undecoded_fraction(small: np.ndarray) -> float:
    """Fraction of a frame that has one single fill value."""
    red, green, blue = (small[..., channel].ravel() for channel in range(3))
    grays = red[(red == green) & (green == blue) & (red >= _GRAY[0]) & (red <= _GRAY[-1])]
    commonest = int(np.bincount(grays).max()) if len(grays) else 0
    greens = int(np.count_nonzero(np.abs(small.astype(int) - _GREEN).max(axis=2) <= 2))
    return max(commonest, greens) / red.size
