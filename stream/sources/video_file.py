"""Source type: a video file. Also its frames one by one, for code that reads whole files."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Event as StopEvent

import cv2
import numpy as np

from stream.messages import FrameTime
from stream.runtime.secrets import redact
from stream.sources.base import SOURCE_TYPES, OpenOptions, PermanentSourceError, Source
from stream.sources.opencv_capture import open_file, rgb
from stream.sources.subprocess_capture import SubprocessCapture

_ANSI_TEXT = cv2.VideoWriter.fourcc(*"ansi")
_DEFAULT_STEP_S = 1 / 30


def open_video(file: str) -> VideoReader:
    """Open a video file. Raises PermanentSourceError, naming the file and the fix."""
    _check_file(file)
    try:
        # An absolute path: else ffmpeg would read a name like 08:00:00.mp4 as a protocol.
        os.path.abspath(file).encode()
    except UnicodeEncodeError:  # OpenCV would crash
        raise PermanentSourceError(
            f"source {redact(file)}: its name is not Unicode; rename it"
        ) from None
    capture = open_file(os.path.abspath(file))
    # ffmpeg also plays text files, as old terminals did.
    if not capture.isOpened() or int(capture.get(cv2.CAP_PROP_FOURCC)) == _ANSI_TEXT:
        capture.release()
        raise PermanentSourceError(
            f"source {redact(file)}: not a video that OpenCV can decode, or a damaged one; "
            "convert it, for example with `ffmpeg -i FILE out.mp4`"
        )
    return VideoReader(capture, redact(file))


class VideoReader:
    """The frames of a video one by one, with the timestamps that are stored in it."""

    def __init__(self, capture: cv2.VideoCapture | SubprocessCapture, name: str) -> None:
        self._capture = capture
        self._name = name
        self._offset_s = 0.0  # some files don't start at 0
        self._last_s: float | None = None

    def advance(self) -> float | None:
        """Grab the next frame. Returns its time in seconds from the first, None at the end.

        Raises PermanentSourceError if there is no frame at all.
        """
        if not self._capture.grab():
            if self._last_s is None:
                raise PermanentSourceError(f"source {self._name}: no frame could be decoded")
            return None
        stored_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._last_s is None:
            self._offset_s = stored_s
            self._last_s = 0.0
            return 0.0
        time_s = stored_s - self._offset_s
        # Timestamps that don't increase are replaced.
        self._last_s = time_s if time_s > self._last_s else self._last_s + _DEFAULT_STEP_S
        return self._last_s

    def retrieve(self) -> np.ndarray | None:
        """The frame that `advance` grabbed, RGB uint8 (H, W, 3); None if it is damaged."""
        decoded, frame = self._capture.retrieve()
        return rgb(frame) if decoded else None

    def close(self) -> None:
        self._capture.release()


class FileSource:
    """A video file at its own pace; if not `paced`, as fast as it can be read."""

    finite = True

    def __init__(
        self, reader: VideoReader, *, now: Callable[[], float], paced: bool = True
    ) -> None:
        self._reader = reader
        self._now = now
        self._paced = paced
        self._started_at: float | None = None

    def grab(self, stop: StopEvent) -> FrameTime | None:
        time_s = self._reader.advance()
        if time_s is None:
            return None
        if not self._paced:
            return FrameTime(time_s, self._now())
        if self._started_at is None:
            self._started_at = self._now() - time_s
        due_at = self._started_at + time_s
        if stop.wait(max(0.0, due_at - self._now())):
            return None
        return FrameTime(time_s, due_at)

    def retrieve(self) -> np.ndarray | None:
        return self._reader.retrieve()

    def close(self) -> None:
        self._reader.close()


class VideoFileType:
    """The path of a file; the type of every spec that no other type matches."""

    def matches(self, spec: int | str) -> bool:
        return isinstance(spec, str)

    def validate(self, spec: int | str) -> None:
        _check_file(str(spec))

    def open(self, spec: int | str, options: OpenOptions) -> Source:
        return FileSource(open_video(str(spec)), now=options.now, paced=options.paced)


def _check_file(file: str) -> None:
    if os.path.isdir(file):
        raise PermanentSourceError(f"source {redact(file)}: is a folder; give one video file")
    if not os.path.isfile(file):
        hint = f"; for webcam {file} write it without quotes" if file.isdigit() else ""
        raise PermanentSourceError(
            f"source {redact(file)}: no such file; "
            f"use rtsp://, http://, a video file, a webcam's index or demo:{hint}"
        )


SOURCE_TYPES.add("video_file", VideoFileType())
