"""LatestPicture: the newest frame of a camera for those who look on; one slot, nothing queued."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import cv2

from stream.messages import Frame

WIDEST = 960  # pixels, for those who ask for no other width
WIDTHS = (320, 640, 960, 1280)  # few, so that viewers share JPEGs
_QUALITY = 80
_UNWATCHED_S = 1.0  # between pictures while nobody looks on, for those who come
_KEPT = 24  # JPEGs, of all widths: who records may be some pictures behind who looks on


class LatestPicture:
    """Written by the capture thread, read by any.

    A JPEG is made at most once for each frame and width. It is never wider than the frame, and
    `widest` is the width for those who ask for none: the recorder, programs.
    """

    def __init__(self, widest: int = WIDEST) -> None:
        self._widest = widest
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._frame: Frame | None = None
        self._newest: dict[int, tuple[Frame, bytes]] = {}  # of one frame, by width
        # By index, time and width, not by frame: that would keep the pixels alive.
        self._made: OrderedDict[tuple[int, float, int], bytes] = OrderedDict()
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

    def jpeg(self, width: int | None = None) -> tuple[Frame, bytes] | None:
        """The newest frame and its JPEG, or None before the first one.

        The JPEG is as wide as the next of WIDTHS, for whoever shows it `width` pixels wide.
        """
        with self._encoding:
            frame = self.frame
            if frame is None:
                return None
            exact = self._exact(frame, self._widest if width is None else _next(width))
            newest = self._newest.get(exact)
            if newest is None or newest[0] is not frame:
                if any(other is not frame for other, _ in self._newest.values()):
                    self._newest.clear()
                newest = self._newest[exact] = (frame, self._encoded(frame, exact))
            return newest

    def jpeg_of(self, frame: Frame) -> bytes:
        """The JPEG of a frame that was the newest of late."""
        with self._encoding:
            return self._encoded(frame, self._exact(frame, self._widest))

    def forget(self) -> None:
        """Let the memory of what is kept go."""
        with self._lock:
            self._frame = None
        with self._encoding:
            self._newest.clear()
            self._made.clear()

    def subscribe(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell`, which must not block, for each new frame. Returns how to end that."""
        with self._lock:
            self._watchers.add(tell)

        def unsubscribe() -> None:
            with self._lock:
                self._watchers.discard(tell)

        return unsubscribe

    @staticmethod
    def _exact(frame: Frame, width: int) -> int:
        return min(width, frame.pixels.shape[1])

    def _encoded(self, frame: Frame, width: int) -> bytes:
        key = (frame.index, frame.time_s, width)
        jpeg = self._made.get(key)
        if jpeg is None:
            jpeg = self._made[key] = _encode(frame, width)
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return jpeg


def _next(width: int) -> int:
    return next((one for one in WIDTHS if one >= width), WIDTHS[-1])


def _encode(frame: Frame, width: int) -> bytes:
    pixels = frame.pixels
    if width < pixels.shape[1]:
        size = (width, max(1, round(pixels.shape[0] * width / pixels.shape[1])))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()
