"""Opens captures with OpenCV and ffmpeg: the one place that sets ffmpeg's options."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from stream.sources.base import NetworkOptions

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_LOCK_TIMEOUT_S = 5.0


class _Variable:
    """Sets ffmpeg's options: one variable of the whole process, read when a capture is opened.

    Threads that need the same value hold it together: a dead camera needs seconds to open, and
    the other cameras must not wait for it one by one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._value: str | None = None
        self._users = 0
        self._before: str | None = None

    @contextmanager
    def set_to(self, value: str | None) -> Iterator[None]:
        """Set the variable to `value`, or unset it for None, and restore it afterwards."""
        with self._changed:
            # A capture that hangs while it opens must not block the others: after a timeout they
            # continue with the options of that capture, which will do.
            self._changed.wait_for(lambda: not self._users or value == self._value, _LOCK_TIMEOUT_S)
            if self._users == 0:
                self._before, self._value = os.environ.get(_VARIABLE), value
                _set_variable(value)
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                if self._users == 0:
                    _set_variable(self._before)
                self._changed.notify_all()


_options = _Variable()


def open_live(source: int | str, options: NetworkOptions) -> cv2.VideoCapture:
    """Open a webcam's index or a network address."""
    return open_webcam(source) if isinstance(source, int) else open_network(source, options)


def open_webcam(index: int) -> cv2.VideoCapture:
    # With CAP_ANY, OpenCV waits on Linux until no network camera is being opened.
    backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    return cv2.VideoCapture(index, backend)


def open_file(file: str) -> cv2.VideoCapture:
    with _options.set_to(None):
        return cv2.VideoCapture(file, cv2.CAP_FFMPEG)


def open_network(address: str, options: NetworkOptions) -> cv2.VideoCapture:
    """Open an address. Returns after `open_timeout_s` at the latest, unless a name server hangs.

    Probing is short: 0.1 s instead of 1.2 s until the first frame.
    """
    settings = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        round(1000 * options.open_timeout_s),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        round(1000 * options.read_timeout_s),
        cv2.CAP_PROP_N_THREADS,
        1,  # each decoder thread adds a frame of delay: 1 gives 46 ms, 16 give 645 ms
    ]
    ffmpeg = f"rtsp_transport;{options.transport}|probesize;32768|analyzeduration;0"
    with _options.set_to(ffmpeg):
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG, settings)


def rgb(bgr: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _set_variable(value: str | None) -> None:
    if value is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = value
