"""A guest: a stream of pictures that come from elsewhere, like a visitor's browser.

What the model says of them is shown to the guest alone. Owns no thread: pictures come on whatever
thread brings them, answers on the scheduler's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from stream.capture.camera import longest_gap_s
from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.events.processor import View
from stream.messages import ClipSpec, Prediction
from stream.regions.frame_ring import FrameRing
from stream.regions.resize import fit_picture
from stream.runtime.metrics import Metrics
from stream.scheduling.window_state import GUEST
from stream.sinks.score_log import as_kept

_LATEST_S = 1e10  # beyond it clocks are too coarse; seconds since 1970 are well below
_NOTHING = View(None, ())


class Guest:
    """The stream of one who was admitted. Safe for use by threads.

    `gap_s` is how long predictions may be missing before nobody knows whether an event goes on.
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
        self.ring: FrameRing | None = FrameRing(spec)  # None once it has left
        self._metrics = metrics
        self._gap_s = gap_s
        self._on_frame = on_frame
        self._now = now
        self._lock = threading.Lock()  # of all below
        self._detector = Detector(name, policy, spec.background, gap_s=gap_s)
        self._view = _NOTHING
        self._first_s: float | None = None  # the visitor's clock at the first picture since a break
        self._latest_s = 0.0  # and at the newest one
        self._began_at = now()  # monotonic seconds of the latest break

    def put(self, pixels: np.ndarray, time_s: float) -> None:
        """Take a picture, uint8 RGB (H, W, 3), of a moment on the visitor's own clock, in seconds.

        One that comes late is dropped, and so are more than the model can use. After a gap, or
        where the clock goes back by more, all begins anew: no window spans a break.
        Raises ValueError for what is no picture or no time.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ValueError(
                f"a picture must be uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}"
            )
        if not 0 <= time_s < _LATEST_S:  # also where it is no number
            raise ValueError(f"a picture's time must be seconds from 0 on, got {time_s}")
        with self._lock:
            if self.ring is None:
                return
            self._metrics.count("frames", GUEST)
            self._heed_break(self.ring, time_s)
            if time_s <= self._latest_s and self._first_s is not None:
                self._metrics.count("late_frames", GUEST)
                return
            if not self.ring.wants(time_s):
                self._metrics.count("unneeded_frames", GUEST)
                return
            if self._first_s is None:
                self._first_s = time_s
            self._latest_s = time_s
            self.ring.append(fit_picture(pixels, self.spec), time_s, self._now())
        self._on_frame()

    def view(self) -> View:
        """The latest prediction since a break, and the events that are open."""
        with self._lock:
            prediction = self._view.prediction
            if prediction is not None and self._now() - prediction.newest_at > self._gap_s:
                self._detector.flush("gap")
                self._view = View(prediction, ())
            return self._view

    @property
    def waiting(self) -> float:
        """How many seconds of pictures the first window lacks; 0.0 once it is whole."""
        whole_s = self.spec.span_s - self.spec.step_s
        with self._lock:
            seen_s = 0.0 if self._first_s is None else self._latest_s - self._first_s
        return max(0.0, whole_s - seen_s)

    # For the scheduler, as `ring`.
    def is_still(self, start_s: float, end_s: float) -> bool:
        return False

    def looked(self, end_s: float) -> None:
        pass

    def take(self, prediction: Prediction) -> None:
        """An answer. On the scheduler's thread."""
        with self._lock:
            before = self._view.prediction
            if self.ring is None or prediction.newest_at < self._began_at:
                return  # it has left, or that was before a break
            if before is not None and prediction.end_s < before.end_s:
                return  # overtaken by one of another worker
            # Events as a camera would have them.
            shares = as_kept(prediction.probabilities)
            self._detector.update(replace(prediction, probabilities=shares))
            self._view = View(prediction, tuple(self._detector.open()))

    def heed(self, policy: EventsConfig) -> None:
        """Go on with other thresholds."""
        with self._lock:
            self._detector.heed(policy)

    def leave(self) -> None:
        """Let its memory go. What still comes is of no use."""
        with self._lock:
            self.ring, self._view = None, _NOTHING

    def _heed_break(self, ring: FrameRing, time_s: float) -> None:
        if self._first_s is None:
            return
        if abs(time_s - self._latest_s) > longest_gap_s(self.spec):
            self._metrics.count("gaps", GUEST)
            ring.clear()
            self._detector.flush("gap")
            self._view, self._first_s, self._began_at = _NOTHING, None, self._now()
