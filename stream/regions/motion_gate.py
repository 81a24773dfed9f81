"""The motion gate: cheap motion detection, so that the model can skip windows. Pure."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from stream.config.config import MotionGateConfig

_SIDE = 32  # pixels: each averages a part of the frame, which removes most of the noise
_FRAME_DISTANCE_S = 0.2  # a slow motion shows only between frames that are not too close
_HISTORY_S = 60.0
_ABOVE_NOISE = 6.0  # times the median change, which in the dark is the camera's noise


class MotionGate:
    """Records when frames changed.

    A frame has changed if at least `min_area` (a fraction) of it differs by more than
    `pixel_threshold` gray levels from the frame 0.2 s before; a global change of the light is
    subtracted, and noise raises the threshold. The model skips no longer than `max_interval`.
    """

    def __init__(self, config: MotionGateConfig) -> None:
        self._config = config
        self._recent: deque[tuple[float, np.ndarray]] = deque()  # gray, of the last 0.2 s
        self._moved_at: deque[float] = deque()
        self._scored_s = -np.inf

    def update(self, pixels: np.ndarray, time_s: float) -> None:
        """Add a sampled frame, uint8 (H, W, 3), in the order of time."""
        small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        gray = small.mean(axis=2, dtype=np.float32)
        while len(self._recent) > 1 and self._recent[1][0] <= time_s - _FRAME_DISTANCE_S + 1e-6:
            self._recent.popleft()
        if self._recent:
            change = gray - self._recent[0][1]
            change = np.abs(change - np.median(change))
            threshold = max(self._config.pixel_threshold, _ABOVE_NOISE * float(np.median(change)))
            if (change > threshold).mean() >= self._config.min_area:
                self._moved_at.append(time_s)
        self._recent.append((time_s, gray))
        while self._moved_at and self._moved_at[0] < time_s - _HISTORY_S:
            self._moved_at.popleft()

    def should_score(self, start_s: float, end_s: float) -> bool:
        """Whether the model should score the window from `start_s` to `end_s`.

        True if anything moved in it, or no window was scored for `max_interval`.
        """
        if end_s - self._scored_s >= self._config.max_interval:
            return True
        # A copy: another thread adds frames meanwhile.
        return any(start_s <= moment <= end_s for moment in tuple(self._moved_at))

    def mark_scored(self, end_s: float) -> None:
        """The window that ends at `end_s` is sent to the model."""
        self._scored_s = end_s
