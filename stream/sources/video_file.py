"""A recorded video: its pictures one by one, and as a source at its own pace."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Event as StopEvent

import cv2
import numpy as np

from stream.messages import Moment
from stream.runtime.secrets import shown
from stream.sources.opencv_capture import SourceError, open_file, rgb
from stream.sources.subprocess_capture import IsolatedCapture

_ANSI_TEXT = cv2.VideoWriter.fourcc(*"ansi")


def open_recording(file: str) -> Recording:
    """Open a video file. Raises SourceError, naming it and the fix, where that fails."""
    if os.path.isdir(file):
        raise SourceError(f"source {shown(file)}: is a folder; give one video file")
    if not os.path.isfile(file):
        raise SourceError(f"source {shown(file)}: no such file")
    try:
        # With a folder in front no part of the name is taken for a protocol, as 08:00:00.mp4 is.
        os.path.abspath(file).encode()
    except UnicodeEncodeError:  # OpenCV would crash
        raise SourceError(f"source {shown(file)}: its name is not Unicode; rename it") from None
    capture = open_file(os.path.abspath(file))
    # ffmpeg also plays text files, as terminals once did.
    if not capture.isOpened() or int(capture.get(cv2.CAP_PROP_FOURCC)) == _ANSI_TEXT:
        capture.release()
        raise SourceError(
            f"source {shown(file)}: not a video that OpenCV can decode, or a damaged one; "
            "convert it, for example with `ffmpeg -i FILE out.mp4`"
        )
    return Recording(capture, shown(file))


class Recording:
    """The pictures of a recorded video one by one, by the times that are stored in it."""

    def __init__(self, capture: cv2.VideoCapture | IsolatedCapture, name: str) -> None:
        self._capture = capture
        self._name = name
        self._offset_s = 0.0  # some files don't start at 0
        self._last_s: float | None = None

    def advance(self) -> float | None:
        """Go to the next picture. Returns its time in seconds from the first, None at the end.

        Raises SourceError where there is not even one.
        """
        if not self._capture.grab():
            if self._last_s is None:
                raise SourceError(f"source {self._name}: no picture could be decoded")
            return None
        stored_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._last_s is None:
            self._offset_s = stored_s
            self._last_s = 0.0
            return 0.0
        time_s = stored_s - self._offset_s
        # Broken times: go on at a usual rate.
        self._last_s = time_s if time_s > self._last_s else self._last_s + 1 / 30
        return self._last_s

    def picture(self) -> np.ndarray | None:
        """The picture that `advance` went to, RGB uint8 (H, W, 3); None if it is damaged."""
        decoded, picture = self._capture.retrieve()
        return rgb(picture) if decoded else None

    def close(self) -> None:
        self._capture.release()


class FileSource:
    """A recorded video at its own pace, or without one as fast as it is read."""

    finite = True

    def __init__(
        self, recording: Recording, *, now: Callable[[], float], paced: bool = True
    ) -> None:
        self._recording = recording
        self._now = now
        self._paced = paced
        self._began_at: float | None = None

    def grab(self, stop: StopEvent) -> Moment | None:
        time_s = self._recording.advance()
        if time_s is None:
            return None
        if not self._paced:
            return Moment(time_s, self._now())
        if self._began_at is None:
            self._began_at = self._now() - time_s
        due_at = self._began_at + time_s
        if stop.wait(max(0.0, due_at - self._now())):
            return None
        return Moment(time_s, due_at)

    def picture(self) -> np.ndarray | None:
        return self._recording.picture()

    def close(self) -> None:
        self._recording.close()
