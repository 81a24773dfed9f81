"""Opening a video with OpenCV and ffmpeg: the one place that sets ffmpeg's options."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_PATIENCE_S = 5.0


class SourceError(Exception):
    """A source that can't be opened or read. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How a network camera is spoken to."""

    transport: str = "tcp"  # of RTSP: tcp or udp
    open_timeout_s: float = 4.0
    read_timeout_s: float = 3.0  # without one a server that hangs blocks a read for 30 s and more


class _Variable:
    """ffmpeg's options are one variable of the whole process, read while a capture is opened.

    Who wants the same value may go in together: a camera that is dead takes seconds to open, and
    the others must not wait for it one by one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._value: str | None = None
        self._users = 0
        self._before: str | None = None

    @contextmanager
    def set_to(self, value: str | None) -> Iterator[None]:
        """Let the variable be `value`, or not be there, meanwhile; afterwards it is as before."""
        with self._changed:
            # A capture that hangs while it is opened must not keep others out: in time they go in
            # with the options that there are, which are not theirs, but will do.
            self._changed.wait_for(lambda: not self._users or value == self._value, _PATIENCE_S)
            if self._users == 0:
                self._before, self._value = os.environ.get(_VARIABLE), value
                _put(value)
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                if self._users == 0:
                    _put(self._before)
                self._changed.notify_all()


_options = _Variable()


def open_webcam(index: int) -> cv2.VideoCapture:
    # Named on Linux: asked for any way in, OpenCV waits until no network camera is being opened.
    way = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    return cv2.VideoCapture(index, way)


def open_file(file: str) -> cv2.VideoCapture:
    with _options.set_to(None):
        return cv2.VideoCapture(file, cv2.CAP_FFMPEG)


def open_network(address: str, options: NetworkOptions) -> cv2.VideoCapture:
    """Open an address. Comes back after `open_timeout_s` at the latest, unless a name server hangs.

    Probing is short: 0.1 s instead of 1.2 s until the first picture.
    """
    settings = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        round(1000 * options.open_timeout_s),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        round(1000 * options.read_timeout_s),
        cv2.CAP_PROP_N_THREADS,
        1,  # one picture of delay for each decoder thread: 1 gives 46 ms, 16 give 645 ms
    ]
    ffmpeg = f"rtsp_transport;{options.transport}|probesize;32768|analyzeduration;0"
    with _options.set_to(ffmpeg):
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG, settings)


def rgb(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _put(value: str | None) -> None:
    if value is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = value
