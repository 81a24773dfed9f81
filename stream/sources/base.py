"""What a source means: webcam index, rtsp://, http://, a video file, or demo:.

A source is read by one thread, the one that opened it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event as StopEvent
from typing import Protocol

import cv2
import numpy as np

from stream.messages import Moment
from stream.runtime.secrets import resolved, shown
from stream.sources.diagnostics import malformed, unreachable, why_refused
from stream.sources.opencv_capture import (
    NetworkOptions,
    SourceError,
    open_network,
    open_webcam,
    rgb,
)
from stream.sources.source_clock import SourceClock
from stream.sources.subprocess_capture import IsolatedCapture
from stream.sources.video_file import FileSource, Recording, open_recording
from stream.synthetic import Scene

_DEMO_FPS = 25.0
_NO_WEBCAM = "is it plugged in, and free? `actionwatch sources` lists webcams"
_MOTION_JPEG = cv2.VideoWriter.fourcc(*"MJPG")


Capture = cv2.VideoCapture | IsolatedCapture


class Source(Protocol):
    """Pictures from somewhere, each as late as it is due."""

    finite: bool  # ends by itself; begins only when someone is ready to watch it

    def grab(self, stop: StopEvent) -> Moment | None:
        """Wait for the next picture. None means the end, or that `stop` was set.

        Raises SourceError where a source that should go on gives nothing more.
        """

    def picture(self) -> np.ndarray | None:
        """The picture that was grabbed, uint8 RGB (H, W, 3); None if it is damaged."""

    def close(self) -> None: ...


def check_source(source: int | str) -> None:
    """Raise SourceError for what can't be a source at all, without opening it."""
    if isinstance(source, int):
        if not 0 <= source < 1000:
            raise SourceError(f"source {source}: a webcam's index is 0 or more, and below 1000")
    elif source.startswith("demo:"):
        _demo_seed(source)
    elif "://" in source or source.startswith("file:"):
        address = resolved(source)
        scheme, there, _ = address.partition("://")
        if not there:  # not shown: it may be a secret
            raise SourceError(f"source {source} must hold an address like rtsp://user:pass@host/")
        if scheme.lower() not in ("rtsp", "rtsps", "http", "https"):
            raise SourceError(
                f"source {shown(source)}: {scheme}:// is not known; "
                "use rtsp://, http://, a file, a webcam's index or demo:"
            )
        if problem := malformed(address):
            raise SourceError(f"source {shown(source)}: {problem}")
    elif Path(source).is_dir():
        raise SourceError(f"source {shown(source)}: is a folder; give one video file")
    elif not Path(source).is_file():
        hint = f"; for webcam {source} write it without quotes" if source.isdigit() else ""
        raise SourceError(
            f"source {shown(source)}: no such file; "
            f"use rtsp://, http://, a video file, a webcam's index or demo:{hint}"
        )


def is_finite(source: int | str) -> bool:
    """Whether the source is a recording, which ends by itself."""
    if isinstance(source, int) or "://" in source:
        return False
    return not source.startswith(("demo:", "file:"))


def open_source(
    source: int | str,
    *,
    now: Callable[[], float] = time.monotonic,
    clock: SourceClock | None = None,
    network: NetworkOptions | None = None,
    isolated: bool = False,
    paced: bool = True,
) -> Source:
    """Open a source. Raises SourceError, naming it and the fix, where that fails.

    `clock` is of a live source, and lets its time go on after it broke off. `isolated` opens it in
    a process of its own. A file that is not `paced` is read as fast as can be.
    """
    check_source(source)
    clock = clock or SourceClock()
    clock.begin()
    network = network or NetworkOptions()
    if isinstance(source, int):
        webcam = IsolatedCapture(source, network) if isolated else open_webcam(source)
        capture = _opened(webcam, source, lambda: _NO_WEBCAM)
        return LiveSource(capture, shown(source), now=now, clock=clock, presents=False)
    if source.startswith("demo:"):
        return DemoSource(_demo_seed(source), now=now)
    if is_finite(source):
        return FileSource(open_recording(source), now=now, paced=paced)
    address = resolved(source)
    patience_s = network.open_timeout_s
    if problem := unreachable(address, patience_s=patience_s):
        raise SourceError(f"source {shown(source)} can't be reached: {problem}")
    line = IsolatedCapture(address, network) if isolated else open_network(address, network)
    capture = _opened(line, source, partial(why_refused, address, patience_s=patience_s))
    if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return FileSource(Recording(capture, shown(source)), now=now)  # on a web server
    # ffmpeg makes the times of motion JPEG over HTTP up, at 25 a second.
    motion_jpeg = int(capture.get(cv2.CAP_PROP_FOURCC)) == _MOTION_JPEG
    presents = not (motion_jpeg and address.lower().startswith("http"))
    return LiveSource(capture, shown(source), now=now, clock=clock, presents=presents)


def _opened(capture: Capture, source: int | str, why: Callable[[], str]) -> Capture:
    if capture.isOpened():
        return capture
    capture.release()
    raise SourceError(f"source {shown(source)} can't be reached: {why()}")


class DemoSource:
    """A drawn scene, endless and in real time; pictures that nobody fetched are skipped."""

    finite = False

    def __init__(self, seed: int, *, now: Callable[[], float]) -> None:
        self._scene = Scene(seed)
        self._now = now
        self._began_at: float | None = None
        self._number = -1
        self._pixels: np.ndarray | None = None

    def grab(self, stop: StopEvent) -> Moment | None:
        if self._began_at is None:
            self._began_at = self._now()
        since = self._now() - self._began_at
        self._number = max(self._number + 1, int(since * _DEMO_FPS))
        time_s = self._number / _DEMO_FPS
        self._pixels = self._scene.picture(time_s)  # before it is due: drawing takes its time
        due_at = self._began_at + time_s
        if stop.wait(max(0.0, due_at - self._now())):
            return None
        return Moment(time_s, due_at)

    def picture(self) -> np.ndarray | None:
        return self._pixels

    def close(self) -> None:
        pass


class LiveSource:
    """A webcam or a network camera. `presents` says whether it knows when pictures were taken."""

    finite = False

    def __init__(
        self,
        capture: Capture,
        name: str,
        *,
        now: Callable[[], float],
        clock: SourceClock,
        presents: bool,
    ) -> None:
        self._capture = capture
        self._name = name
        self._now = now
        self._clock = clock
        self._presents = presents

    def grab(self, stop: StopEvent) -> Moment | None:
        while not stop.is_set():
            if not self._capture.grab():
                raise SourceError(f"source {self._name} gives no more pictures")
            if stop.is_set():  # given up meanwhile: the clock is another reading's now
                return None
            arrived_at = self._now()
            presented_s = (
                self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if self._presents else None
            )
            time_s = self._clock.tick(presented_s, arrived_at)
            if time_s is not None:
                return Moment(time_s, arrived_at)
        return None

    def picture(self) -> np.ndarray | None:
        decoded, picture = self._capture.retrieve()
        return rgb(picture) if decoded else None

    def close(self) -> None:
        self._capture.release()


def _demo_seed(source: str) -> int:
    seed = source.removeprefix("demo:") or "0"
    if not (seed.isascii() and seed.isdigit()):
        raise SourceError(f"source {source}: write demo: or demo:SEED with a whole number")
    return int(seed)
