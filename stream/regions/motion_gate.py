"""The motion gate: whether anything moved, cheaply, so that the model need not look. Pure."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

_SIDE = 32  # pixels: each stands for a part of the picture, without most of the noise
_APART_S = 0.2  # a slow motion shows between pictures that are not too close
_KEPT_S = 60.0
_ABOVE_NOISE = 6.0  # times the median change, which in the dark is the camera's noise


class MotionGate:
    """Remembers when pictures changed.

    A picture has changed where at least `area` of it differs by more than `difference` grey levels
    from one 0.2 s before, a change of the light as a whole taken off; in noise it takes more.
    `look_every_s` is how long the model may be spared at most.
    """

    def __init__(self, *, area: float, difference: float, look_every_s: float) -> None:
        self._area, self._difference = area, difference
        self._look_every_s = look_every_s
        self._kept: deque[tuple[float, np.ndarray]] = deque()  # grey, of the last 0.2 s
        self._moved_at: deque[float] = deque()
        self._looked_s = -np.inf

    def see(self, pixels: np.ndarray, time_s: float) -> None:
        """A sampled picture, uint8 (H, W, 3), in the order of time."""
        small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        grey = small.mean(axis=2, dtype=np.float32)
        while len(self._kept) > 1 and self._kept[1][0] <= time_s - _APART_S + 1e-6:
            self._kept.popleft()
        if self._kept:
            change = grey - self._kept[0][1]
            change = np.abs(change - np.median(change))
            least = max(self._difference, _ABOVE_NOISE * float(np.median(change)))
            if (change > least).mean() >= self._area:
                self._moved_at.append(time_s)
        self._kept.append((time_s, grey))
        while self._moved_at and self._moved_at[0] < time_s - _KEPT_S:
            self._moved_at.popleft()

    def opens(self, start_s: float, end_s: float) -> bool:
        """Whether the model is to look at the window from `start_s` to `end_s`.

        True where something moved in it, and when it has not looked for long.
        """
        if end_s - self._looked_s >= self._look_every_s:
            return True
        # A copy: another thread sees pictures meanwhile.
        return any(start_s <= moment <= end_s for moment in tuple(self._moved_at))

    def looked(self, end_s: float) -> None:
        """The model is given the window that ends there."""
        self._looked_s = end_s
