"""A live source: an OpenCV capture whose frames are read as they arrive."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as StopEvent

import cv2
import numpy as np

from stream.messages import FrameTime
from stream.runtime.secrets import redact
from stream.sources.base import OpenOptions, SourceError
from stream.sources.opencv_capture import open_live, rgb
from stream.sources.subprocess_capture import SubprocessCapture

Capture = cv2.VideoCapture | SubprocessCapture


def open_capture(
    source: int | str, spec: int | str, options: OpenOptions, explain: Callable[[], str]
) -> Capture:
    """Open a webcam's index or a network address, which `spec` stands for.

    Raises SourceError with the reason that `explain` finds.
    """
    open_source = SubprocessCapture if options.in_subprocess else open_live
    capture: Capture = open_source(source, options.network)
    if capture.isOpened():
        return capture
    capture.release()
    raise SourceError(f"source {redact(spec)} can't be reached: {explain()}")


class LiveSource:
    """A webcam or a network camera. `has_timestamps`: it delivers presentation times."""

    finite = False

    def __init__(
        self, capture: Capture, spec: int | str, options: OpenOptions, *, has_timestamps: bool
    ) -> None:
        self._capture = capture
        self._name = redact(spec)
        self._now, self._clock = options.now, options.clock
        self._has_timestamps = has_timestamps

    def grab(self, stop: StopEvent) -> FrameTime | None:
        while not stop.is_set():
            if not self._capture.grab():
                raise SourceError(f"source {self._name} delivers no more frames")
            if stop.is_set():  # abandoned meanwhile: the clock belongs to another session now
                return None
            arrived_at = self._now()
            presented_s = (
                self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if self._has_timestamps else None
            )
            time_s = self._clock.tick(presented_s, arrived_at)
            if time_s is not None:
                return FrameTime(time_s, arrived_at)
        return None

    def retrieve(self) -> np.ndarray | None:
        decoded, frame = self._capture.retrieve()
        return rgb(frame) if decoded else None

    def close(self) -> None:
        self._capture.release()
