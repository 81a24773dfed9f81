"""A browser session: a stream of frames that a browser sends.

Its predictions are sent only to that browser. Owns no thread: frames arrive on the caller's thread,
predictions on the scheduler's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from stream.capture.camera import max_gap_s
from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.events.processor import CameraView
from stream.messages import ClipSpec, Prediction
from stream.regions.frame_ring import FrameRing
from stream.regions.resize import fit_frame
from stream.runtime.metrics import Metrics
from stream.scheduling.window_state import BROWSER_SESSION
from stream.sinks.score_files import quantize

_MAX_TIME_S = 1e10  # floats are too coarse beyond it; seconds since 1970 are well below
_EMPTY_VIEW = CameraView(None, ())


class BrowserSession:
    """The stream of one browser session. Thread-safe.

    A gap of more than `gap_s` seconds between predictions closes open events.
    """

    def __init__(
        self,
        name: str,
        spec: ClipSpec,
        policy: EventsConfig,
        metrics: Metrics,
        *,
        gap_s: float,
        on_frame: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self.name = name
        self.spec = spec
        self.ring: FrameRing | None = FrameRing(spec)  # None once it is closed
        self._metrics = metrics
        self._gap_s = gap_s
        self._on_frame = on_frame
        self._now = now
        self._lock = threading.Lock()  # guards the fields below
        self._detector = Detector(name, policy, spec.background, gap_s=gap_s)
        self._view = _EMPTY_VIEW
        self._first_s: float | None = None  # browser's clock at the first frame since a break
        self._latest_s = 0.0  # and at the newest frame
        self._break_at = now()  # monotonic seconds of the latest break

    def put(self, pixels: np.ndarray, time_s: float) -> None:
        """Add a frame, uint8 RGB (H, W, 3), with its time on the browser's clock in seconds.

        Late frames are dropped, and so are frames that the model does not need. A gap, or a clock
        that jumps back as far, clears the session: no window spans a break.
        Raises ValueError for an invalid frame or time.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ValueError(f"a frame must be uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
        if not 0 <= time_s < _MAX_TIME_S:  # also false for nan
            raise ValueError(f"a frame's time must be seconds from 0 on, got {time_s}")
        with self._lock:
            if self.ring is None:
                return
            self._metrics.count("frames", BROWSER_SESSION)
            self._check_break(self.ring, time_s)
            if time_s <= self._latest_s and self._first_s is not None:
                self._metrics.count("late_frames", BROWSER_SESSION)
                return
            if not self.ring.accepts(time_s):
                self._metrics.count("unused_frames", BROWSER_SESSION)
                return
            if self._first_s is None:
                self._first_s = time_s
            self._latest_s = time_s
            self.ring.append(fit_frame(pixels, self.spec), time_s, self._now())
        self._on_frame()

    def view(self) -> CameraView:
        """The latest prediction since a break, and the open events."""
        with self._lock:
            prediction = self._view.prediction
            if prediction is not None and self._now() - prediction.newest_at > self._gap_s:
                self._detector.flush("gap")
                self._view = CameraView(prediction, ())
            return self._view

    @property
    def missing_s(self) -> float:
        """How many seconds of video the first window still needs; 0.0 once it is complete."""
        needed_s = self.spec.span_s - self.spec.step_s
        with self._lock:
            seen_s = 0.0 if self._first_s is None else self._latest_s - self._first_s
        return max(0.0, needed_s - seen_s)

    # With `ring`: the ClipSource of the scheduler.
    def is_gated(self, start_s: float, end_s: float) -> bool:
        return False

    def mark_scored(self, end_s: float) -> None:
        pass

    def on_prediction(self, prediction: Prediction) -> None:
        """Update the view and the events. On the scheduler's thread."""
        with self._lock:
            before = self._view.prediction
            if self.ring is None or prediction.newest_at < self._break_at:
                return  # closed, or from before a break
            if before is not None and prediction.end_s < before.end_s:
                return  # out of order: another worker was faster
            # Rounded, for the same events as of a camera.
            probabilities = quantize(prediction.probabilities)
            self._detector.update(replace(prediction, probabilities=probabilities))
            self._view = CameraView(prediction, tuple(self._detector.open()))

    def update_config(self, policy: EventsConfig) -> None:
        """Continue with other thresholds."""
        with self._lock:
            self._detector.update_config(policy)

    def close(self) -> None:
        """Release the memory. Later frames and predictions are dropped."""
        with self._lock:
            self.ring, self._view = None, _EMPTY_VIEW

    def _check_break(self, ring: FrameRing, time_s: float) -> None:
        if self._first_s is None:
            return
        if abs(time_s - self._latest_s) > max_gap_s(self.spec):
            self._metrics.count("gaps", BROWSER_SESSION)
            ring.clear()
            self._detector.flush("gap")
            self._view, self._first_s, self._break_at = _EMPTY_VIEW, None, self._now()
