"""LatestPicture: the newest frame of a camera for those who look on; one slot, nothing queued."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import cv2

from stream.messages import Frame

WIDEST = 960  # pixels; viewers get no more, whatever the camera sends
_QUALITY = 80
_UNWATCHED_S = 1.0  # between pictures while nobody looks on, for those who come
_KEPT = 16  # JPEGs: who records may be some pictures behind who looks on


class LatestPicture:
    """Written by the capture thread, read by any. A JPEG is made at most once for each frame.

    JPEGs are at most `widest` pixels wide.
    """

    def __init__(self, widest: int = WIDEST) -> None:
        self._widest = widest
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._frame: Frame | None = None
        self._newest: tuple[Frame, bytes] | None = None
        # By index and time, not by frame: that would keep the pixels alive.
        self._made: OrderedDict[tuple[int, float], bytes] = OrderedDict()
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
            if self._newest is None or self._newest[0] is not frame:
                self._newest = (frame, self._encoded(frame))
            return self._newest

    def jpeg_of(self, frame: Frame) -> bytes:
        """The JPEG of a frame that was the newest of late."""
        with self._encoding:
            return self._encoded(frame)

    def forget(self) -> None:
        """Let the memory of what is kept go."""
        with self._lock:
            self._frame = None
        with self._encoding:
            self._newest = None
            self._made.clear()

    def subscribe(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell`, which must not block, for each new frame. Returns how to end that."""
        with self._lock:
            self._watchers.add(tell)

        def unsubscribe() -> None:
            with self._lock:
                self._watchers.discard(tell)

        return unsubscribe

    def _encoded(self, frame: Frame) -> bytes:
        key = (frame.index, frame.time_s)
        jpeg = self._made.get(key)
        if jpeg is None:
            jpeg = self._made[key] = _encode(frame, self._widest)
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return jpeg


def _encode(frame: Frame, widest: int) -> bytes:
    pixels = frame.pixels
    height, width = pixels.shape[:2]
    if width > widest:
        size = (widest, max(1, round(height * widest / width)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()
