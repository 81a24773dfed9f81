"""Ring buffer of a region's latest frames at the model's input size; preallocated, one lock."""

from __future__ import annotations

import math
import threading

import numpy as np

from stream.messages import ClipSpec

_MAX_FPS = 40.0  # more frames cost memory and add no accuracy: 60 fps is thinned to 30


class NotCoveredError(Exception):
    """The ring does not cover the requested window."""


class FrameRing:
    """Frames of the last `spec.span_s + slack_s` seconds. Thread-safe."""

    def __init__(self, spec: ClipSpec, *, slack_s: float = 1.0) -> None:
        capacity = math.ceil((spec.span_s + slack_s) * _MAX_FPS) + 1
        self._frames = np.empty((capacity, spec.height, spec.width, 3), np.uint8)
        self._times = np.empty(capacity)  # source seconds
        self._seen_at = np.empty(capacity)  # monotonic seconds
        self._count = 0  # frames appended since the ring was cleared
        self.clear_count = 0
        self._lock = threading.Lock()

    def accepts(self, time_s: float) -> bool:
        """Whether to append a frame of that time; check this before resizing the frame."""
        with self._lock:
            return self._count == 0 or time_s >= self._newest() + 1 / _MAX_FPS

    def append(self, pixels: np.ndarray, time_s: float, seen_at: float) -> None:
        """Copy a frame, uint8 (H, W, 3), into the ring. Raises ValueError if it is out of order."""
        with self._lock:
            if self._count and time_s <= self._newest():
                raise ValueError(f"frames must be in order: {time_s} after {self._newest()}")
            slot = self._count % len(self._times)
            self._frames[slot] = pixels
            self._times[slot] = time_s
            self._seen_at[slot] = seen_at
            self._count += 1

    def clear(self) -> None:
        """Drop all frames: no window may span a gap in the source."""
        with self._lock:
            self._count = 0
            self.clear_count += 1

    @property
    def newest_s(self) -> float | None:
        """Time of the newest frame, or None if the ring is empty."""
        with self._lock:
            return self._newest() if self._count else None

    def covers(self, times: np.ndarray) -> bool:
        """Whether `window` would return frames for these times."""
        with self._lock:
            return self._reaches(times, self._order())

    def window(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Copy the frames nearest to `times`, oldest first.

        Returns the frames, uint8 (T, H, W, 3), their own times in seconds, (T,), and when the
        newest of them was seen, in monotonic seconds.
        Raises NotCoveredError unless the ring covers times[0] to times[-1].
        """
        with self._lock:
            order = self._order()
            if not self._reaches(times, order):
                raise NotCoveredError
            known = self._times[order]
            nearest = nearest_indices(known, times)
            slots = order[nearest]
            return self._frames[slots], known[nearest], float(self._seen_at[slots[-1]])

    def _order(self) -> np.ndarray:
        """The slots that hold frames, oldest first."""
        stored = min(self._count, len(self._times))
        return np.arange(self._count - stored, self._count) % len(self._times)

    def _reaches(self, times: np.ndarray, order: np.ndarray) -> bool:
        if not len(order):
            return False
        known = self._times[order]
        # A frame covers half the median frame interval on each side.
        half_gap = float(np.median(np.diff(known))) / 2 if len(known) > 1 else 0.0
        return bool(times[0] >= known[0] - half_gap and times[-1] <= known[-1] + half_gap)

    def _newest(self) -> float:
        return float(self._times[(self._count - 1) % len(self._times)])


def nearest_indices(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For each wanted time the index of the nearest known one; `known` is sorted, not empty."""
    after = np.searchsorted(known, wanted).clip(0, len(known) - 1)
    before = (after - 1).clip(0)
    return np.where(wanted - known[before] <= known[after] - wanted, before, after)
