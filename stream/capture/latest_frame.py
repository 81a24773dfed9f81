"""The newest frame of a camera for its viewers: one slot, no queue."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import cv2

from stream.messages import Frame

DEFAULT_WIDTH = 960  # pixels
WIDTHS = (320, 640, 960, 1280)  # only four, so that viewers share JPEGs
_QUALITY = 80
_IDLE_INTERVAL_S = 1.0  # between frames while there is no subscriber
_MAX_JPEGS = 24  # of all widths: the recorder may be some frames behind the viewers


class LatestFrame:
    """Written by the capture thread, read by any.

    Encodes a JPEG at most once for each frame and width. The JPEG is never wider than the frame;
    `default_width` is for readers that request no width: the recorder, API clients.
    """

    def __init__(self, default_width: int = DEFAULT_WIDTH) -> None:
        self._default_width = default_width
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self.frame: Frame | None = None
        # By index, time and width, not by frame: that would keep the pixels alive.
        self._jpegs: OrderedDict[tuple[int, float, int], bytes] = OrderedDict()
        self._subscribers: set[Callable[[], None]] = set()

    def is_due(self, seen_at: float) -> bool:
        """Whether a frame of that moment is needed; without subscribers one a second is."""
        with self._lock:
            if self._subscribers or self.frame is None:
                return True
            return seen_at - self.frame.seen_at >= _IDLE_INTERVAL_S

    def put(self, frame: Frame) -> None:
        with self._lock:
            self.frame = frame
            subscribers = list(self._subscribers)
        for callback in subscribers:
            callback()

    def jpeg(self, width: int | None = None) -> tuple[Frame, bytes] | None:
        """The newest frame and its JPEG, or None before the first frame.

        The JPEG has the smallest of WIDTHS that is at least `width` pixels.
        """
        with self._encoding:
            frame = self.frame
            if frame is None:
                return None
            requested = self._default_width if width is None else _round_up(width)
            return frame, self._encode_once(frame, requested)

    def jpeg_of(self, frame: Frame) -> bytes:
        """The JPEG of a recent frame."""
        with self._encoding:
            return self._encode_once(frame, self._default_width)

    def clear(self) -> None:
        """Free the memory of the frame and all JPEGs."""
        with self._lock:
            self.frame = None
        with self._encoding:
            self._jpegs.clear()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback`, which must not block, for each new frame. Returns the unsubscriber."""
        with self._lock:
            self._subscribers.add(callback)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers.discard(callback)

        return unsubscribe

    def _encode_once(self, frame: Frame, width: int) -> bytes:
        width = min(width, frame.pixels.shape[1])
        key = (frame.index, frame.time_s, width)
        jpeg = self._jpegs.get(key)
        if jpeg is None:
            jpeg = self._jpegs[key] = _encode(frame, width)
            if len(self._jpegs) > _MAX_JPEGS:
                self._jpegs.popitem(last=False)
        return jpeg


def _round_up(width: int) -> int:
    return next((one for one in WIDTHS if one >= width), WIDTHS[-1])


def _encode(frame: Frame, width: int) -> bytes:
    pixels = frame.pixels
    if width < pixels.shape[1]:
        size = (width, max(1, round(pixels.shape[0] * width / pixels.shape[1])))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()
