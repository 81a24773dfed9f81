"""LatestPicture: the newest frame of a camera for those who look on; one slot, nothing queued."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2

from stream.messages import Frame

_WIDEST = 960  # pixels; viewers get no more, whatever the camera sends
_QUALITY = 80
_UNWATCHED_S = 1.0  # between pictures while nobody looks on, for those who come


class LatestPicture:
    """Written by the capture thread, read by any. A JPEG is made at most once for each frame."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._frame: Frame | None = None
        self._jpeg: tuple[Frame, bytes] | None = None
        self._watchers: set[Callable[[], None]] = set()

    def wants(self, seen_at: float) -> bool:
        """Whether a picture of that moment is of use; without viewers now and then one is."""
        with self._lock:
            if self._watchers or self._frame is None:
                return True
            return seen_at - self._frame.seen_at >= _UNWATCHED_S

    def put(self, frame: Frame) -> None:
        with self._lock:
            self._frame = frame
            watchers = list(self._watchers)
        for tell in watchers:
            tell()

    @property
    def frame(self) -> Frame | None:
        with self._lock:
            return self._frame

    def jpeg(self) -> tuple[Frame, bytes] | None:
        """The newest frame and its JPEG, or None before the first one."""
        with self._encoding:
            frame = self.frame
            if frame is None:
                return None
            if self._jpeg is None or self._jpeg[0] is not frame:
                self._jpeg = (frame, _encode(frame))
            return self._jpeg

    def subscribe(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell`, which must not block, for each new frame. Returns how to end that."""
        with self._lock:
            self._watchers.add(tell)

        def unsubscribe() -> None:
            with self._lock:
                self._watchers.discard(tell)

        return unsubscribe


def _encode(frame: Frame) -> bytes:
    pixels = frame.pixels
    height, width = pixels.shape[:2]
    if width > _WIDEST:
        size = (_WIDEST, round(height * _WIDEST / width))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()
