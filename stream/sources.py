"""What a source string means: webcam index, rtsp://, http://, a video file, or demo:.

A source is read by one thread, the capture thread that opened it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event as StopEvent
from threading import Lock
from typing import Protocol

import cv2
import numpy as np

from stream.messages import Frame
from stream.synthetic import Scene

# One frame of delay for each decoder thread (measured: 1 gives 46 ms, 16 give 645 ms), and
# without time-outs a server that hangs blocks a read for ever.
_NETWORK_OPTIONS = [
    cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
    4000,
    cv2.CAP_PROP_READ_TIMEOUT_MSEC,
    3000,
    cv2.CAP_PROP_N_THREADS,
    1,
]
_FFMPEG_OPTIONS = "rtsp_transport;tcp|probesize;32768|analyzeduration;0"
_DEMO_FPS = 25.0
_ANSI_TEXT = cv2.VideoWriter.fourcc(*"ansi")
_opening = Lock()  # OpenCV reads ffmpeg's options from one variable of the whole process


class SourceError(Exception):
    """A source that can't be opened or read. The message is one line for a person."""


class Source(Protocol):
    """Pictures from somewhere, each as late as it is due."""

    finite: bool  # ends by itself; begins only when someone is ready to watch it

    def read(self, stop: StopEvent) -> Frame | None:
        """Wait for the next picture. None means the end, or that `stop` was set.

        Raises SourceError where a source that should go on gives nothing more.
        """

    def close(self) -> None: ...


def check_source(source: int | str) -> None:
    """Raise SourceError for what can't be a source at all, without opening it."""
    if isinstance(source, int):
        if not 0 <= source < 1000:
            raise SourceError(f"source {source}: a webcam's index is 0 or more, and below 1000")
    elif source.startswith("demo:"):
        _demo_seed(source)
    elif "://" in source:
        scheme = source.split("://", 1)[0].lower()
        if scheme not in ("rtsp", "rtsps", "http", "https"):
            raise SourceError(
                f"source {shown(source)}: {scheme}:// is not known; "
                "use rtsp://, http://, a file, a webcam's index or demo:"
            )
    elif Path(source).is_dir():
        raise SourceError(f"source {source}: is a folder; give one video file")
    elif not Path(source).is_file():
        hint = f"; for webcam {source} write it without quotes" if source.isdigit() else ""
        raise SourceError(
            f"source {source}: no such file; "
            f"use rtsp://, http://, a video file, a webcam's index or demo:{hint}"
        )


def is_finite(source: int | str) -> bool:
    """Whether the source is a recording, which ends by itself."""
    return isinstance(source, str) and "://" not in source and not source.startswith("demo:")


def open_source(
    source: int | str,
    *,
    now: Callable[[], float] = time.monotonic,
    began_at: float | None = None,
) -> Source:
    """Open a source. Raises SourceError, naming it and the fix, where that fails.

    `began_at`, in monotonic seconds, lets the clock of a live source go on after it broke off.
    """
    check_source(source)
    if isinstance(source, str) and source.startswith("demo:"):
        return DemoSource(_demo_seed(source), now=now)
    if is_finite(source):
        return FileSource(open_recording(str(source)), now=now)
    capture = _open(source) if isinstance(source, int) else _open_network(source)
    if not capture.isOpened():
        capture.release()
        fix = (
            "is it plugged in, and free? `ls /dev/video*` lists webcams on Linux"
            if isinstance(source, int)
            else "check address, user, password and network"
        )
        raise SourceError(f"source {shown(source)} can't be reached: {fix}")
    if isinstance(source, str) and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return FileSource(Recording(capture, shown(source)), now=now)  # on a web server
    return LiveSource(capture, shown(source), now=now, began_at=began_at)


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
    capture = _open(os.path.abspath(file))
    # ffmpeg also plays text files, as terminals once did.
    if not capture.isOpened() or int(capture.get(cv2.CAP_PROP_FOURCC)) == _ANSI_TEXT:
        capture.release()
        raise SourceError(
            f"source {shown(file)}: not a video that OpenCV can decode, or a damaged one; "
            "convert it, for example with `ffmpeg -i FILE out.mp4`"
        )
    return Recording(capture, shown(file))


def shown(source: int | str) -> str:
    """The source as it may be printed: an address without user, password and query."""
    text = str(source).encode(errors="backslashreplace").decode()
    # Passwords may hold an @; cameras also take them in the query.
    return re.sub(r"(?<=://)[^/\s]*@|\?.*", "", text) if "://" in text else text


class DemoSource:
    """A drawn scene, endless and in real time; pictures that nobody fetched are skipped."""

    finite = False

    def __init__(self, seed: int, *, now: Callable[[], float]) -> None:
        self._scene = Scene(seed)
        self._now = now
        self._began_at: float | None = None
        self._number = -1
        self._index = 0

    def read(self, stop: StopEvent) -> Frame | None:
        if self._began_at is None:
            self._began_at = self._now()
        since = self._now() - self._began_at
        self._number = max(self._number + 1, int(since * _DEMO_FPS))
        time_s = self._number / _DEMO_FPS
        pixels = self._scene.picture(time_s)
        if not _wait_until(self._began_at + time_s, self._now, stop):
            return None
        self._index += 1
        return Frame(pixels, time_s, self._began_at + time_s, self._index - 1)

    def close(self) -> None:
        pass


class Recording:
    """The pictures of a recorded video one by one, by the times that are stored in it."""

    def __init__(self, capture: cv2.VideoCapture, name: str) -> None:
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
        return _rgb(picture) if decoded else None

    def close(self) -> None:
        self._capture.release()


class FileSource:
    """A recorded video at its own pace."""

    finite = True

    def __init__(self, recording: Recording, *, now: Callable[[], float]) -> None:
        self._recording = recording
        self._now = now
        self._began_at: float | None = None
        self._index = 0

    def read(self, stop: StopEvent) -> Frame | None:
        while (time_s := self._recording.advance()) is not None:
            picture = self._recording.picture()
            if picture is None:
                continue
            if self._began_at is None:
                self._began_at = self._now() - time_s
            due_at = self._began_at + time_s
            if not _wait_until(due_at, self._now, stop):
                return None
            self._index += 1
            return Frame(picture, time_s, due_at, self._index - 1)
        return None

    def close(self) -> None:
        self._recording.close()


class LiveSource:
    """A webcam or a network camera; the time of a picture is when it arrived."""

    finite = False

    def __init__(
        self,
        capture: cv2.VideoCapture,
        name: str,
        *,
        now: Callable[[], float],
        began_at: float | None,
    ) -> None:
        self._capture = capture
        self._name = name
        self._now = now
        self._began_at = began_at
        self._last_s = -1.0
        self._index = 0

    def read(self, stop: StopEvent) -> Frame | None:
        if stop.is_set():
            return None
        decoded, picture = self._capture.read()
        if not decoded:
            raise SourceError(f"source {self._name} gives no more pictures")
        arrived_at = self._now()
        if self._began_at is None:
            self._began_at = arrived_at
        # Two pictures of one moment would break the order that everything behind relies on.
        time_s = max(arrived_at - self._began_at, self._last_s + 1e-6)
        self._last_s = time_s
        self._index += 1
        return Frame(_rgb(picture), time_s, arrived_at, self._index - 1)

    def close(self) -> None:
        self._capture.release()


def _open(source: int | str) -> cv2.VideoCapture:
    with _opening:
        if isinstance(source, int):
            return cv2.VideoCapture(source)
        return cv2.VideoCapture(source, cv2.CAP_FFMPEG)


def _open_network(address: str) -> cv2.VideoCapture:
    with _opening:
        before = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS")
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = _FFMPEG_OPTIONS
        try:
            return cv2.VideoCapture(address, cv2.CAP_FFMPEG, _NETWORK_OPTIONS)
        finally:
            if before is None:
                del os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"]
            else:
                os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = before


def _rgb(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _wait_until(moment: float, now: Callable[[], float], stop: StopEvent) -> bool:
    """Wait for a moment of the clock `now`; False where `stop` came first."""
    return not stop.wait(max(0.0, moment - now()))


def _demo_seed(source: str) -> int:
    seed = source.removeprefix("demo:") or "0"
    if not (seed.isascii() and seed.isdigit()):
        raise SourceError(f"source {source}: write demo: or demo:SEED with a whole number")
    return int(seed)
