"""Notices pictures that show nothing: black, frozen, or not decoded. Pure, and cheap."""

from __future__ import annotations

import cv2
import numpy as np

_EVERY_S = 0.5
_SIZE = (48, 36)
_DARK = 24  # grey levels; even a covered lens shows more than a lost signal
_FROZEN_AFTER_S = 10.0
_FROZEN = "frozen picture"
_UNDECODED = 0.3  # share of the picture
_GREY, _GREEN = range(124, 134), (0, 135, 0)  # what decoders leave where data is missing


class PictureCheck:
    """Looks at two pictures a second.

    `fault` is "black picture", "frozen picture" (not a single value has changed for ten seconds:
    cameras have noise), "undecoded picture" (much of it is exactly what decoders fill gaps with),
    or "". `since_s` is the time of the first picture that had it.
    """

    def __init__(self) -> None:
        self.fault = ""
        self.since_s = 0.0
        self._looked_s = -np.inf
        self._before: np.ndarray | None = None
        self._same_since_s = 0.0

    def see(self, pixels: np.ndarray, time_s: float) -> bool:
        """A picture, uint8 RGB (H, W, 3). True where it was looked at and has a fault."""
        if time_s - self._looked_s < _EVERY_S:
            return False
        self._looked_s = time_s
        small = cv2.resize(pixels, _SIZE, interpolation=cv2.INTER_NEAREST)
        if self._before is None or not np.array_equal(small, self._before):
            self._before, self._same_since_s = small, time_s
        fault = self._fault(small, time_s)
        if fault != self.fault:
            self.fault = fault
            self.since_s = self._same_since_s if fault == _FROZEN else time_s
        return bool(fault)

    def _fault(self, small: np.ndarray, time_s: float) -> str:
        if small.max() < _DARK:
            return "black picture"
        if _undecoded(small) > _UNDECODED:
            return "undecoded picture"
        if time_s - self._same_since_s >= _FROZEN_AFTER_S:
            return _FROZEN
        return ""


def _undecoded(small: np.ndarray) -> float:
    """Share of a picture that is one and the same value of those that stand for nothing."""
    red, green, blue = (small[..., channel].ravel() for channel in range(3))
    greys = red[(red == green) & (green == blue) & (red >= _GREY[0]) & (red <= _GREY[-1])]
    most = int(np.bincount(greys).max()) if len(greys) else 0
    greens = int(np.count_nonzero(np.abs(small.astype(int) - _GREEN).max(axis=2) <= 2))
    return max(most, greens) / red.size
