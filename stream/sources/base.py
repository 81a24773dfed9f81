"""Opens a source by its spec: webcam index, rtsp://, http://, a video file, or demo:.

The thread that opens a source is the only one that reads it.
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

from stream.messages import FrameTime
from stream.runtime.secrets import redact, resolve_secrets
from stream.sources.diagnostics import check_reachable, explain_open_failure, validate_url
from stream.sources.opencv_capture import (
    NetworkOptions,
    SourceError,
    open_network,
    open_webcam,
    rgb,
)
from stream.sources.source_clock import SourceClock
from stream.sources.subprocess_capture import SubprocessCapture
from stream.sources.video_file import FileSource, VideoReader, open_video
from stream.synthetic import Scene

_DEMO_FPS = 25.0
_NO_WEBCAM = "is it plugged in, and free? `actionwatch list-cameras` lists webcams"
_MOTION_JPEG = cv2.VideoWriter.fourcc(*"MJPG")


Capture = cv2.VideoCapture | SubprocessCapture


class Source(Protocol):
    """Delivers frames, each when it is due."""

    finite: bool  # it has an end, and starts only when a consumer is ready

    def grab(self, stop: StopEvent) -> FrameTime | None:
        """Wait for the next frame. Returns None at the end, or when `stop` is set.

        Raises SourceError where a live source delivers no more frames.
        """

    def retrieve(self) -> np.ndarray | None:
        """The grabbed frame, uint8 RGB (H, W, 3); None if it is damaged."""

    def close(self) -> None: ...


def check_source(source: int | str) -> None:
    """Raise SourceError for a spec that can't be a source, without opening it."""
    if isinstance(source, int):
        if not 0 <= source < 1000:
            raise SourceError(f"source {source}: a webcam's index is 0 or more, and below 1000")
    elif source.startswith("demo:"):
        _demo_seed(source)
    elif "://" in source or source.startswith("file:"):
        address = resolve_secrets(source)
        scheme, separator, _ = address.partition("://")
        if not separator:  # the address is not printed: it may be a secret
            raise SourceError(f"source {source} must hold an address like rtsp://user:pass@host/")
        if scheme.lower() not in ("rtsp", "rtsps", "http", "https"):
            raise SourceError(
                f"source {redact(source)}: {scheme}:// is not known; "
                "use rtsp://, http://, a file, a webcam's index or demo:"
            )
        if problem := validate_url(address):
            raise SourceError(f"source {redact(source)}: {problem}")
    elif Path(source).is_dir():
        raise SourceError(f"source {redact(source)}: is a folder; give one video file")
    elif not Path(source).is_file():
        hint = f"; for webcam {source} write it without quotes" if source.isdigit() else ""
        raise SourceError(
            f"source {redact(source)}: no such file; "
            f"use rtsp://, http://, a video file, a webcam's index or demo:{hint}"
        )


def is_finite(source: int | str) -> bool:
    """Whether the source is a video file, which has an end."""
    if isinstance(source, int) or "://" in source:
        return False
    return not source.startswith(("demo:", "file:"))


def open_source(
    source: int | str,
    *,
    now: Callable[[], float] = time.monotonic,
    clock: SourceClock | None = None,
    network: NetworkOptions | None = None,
    in_subprocess: bool = False,
    paced: bool = True,
) -> Source:
    """Open a source. Raises SourceError, naming the source and the fix, where that fails.

    `clock` belongs to a live source: its time continues across reconnects. `in_subprocess` opens
    the source in a process of its own. A file that is not `paced` is read as fast as possible.
    """
    check_source(source)
    clock = clock or SourceClock()
    clock.on_open()
    network = network or NetworkOptions()
    if isinstance(source, int):
        webcam = SubprocessCapture(source, network) if in_subprocess else open_webcam(source)
        capture = _check_open(webcam, source, lambda: _NO_WEBCAM)
        return LiveSource(capture, redact(source), now=now, clock=clock, has_timestamps=False)
    if source.startswith("demo:"):
        return DemoSource(_demo_seed(source), now=now)
    if is_finite(source):
        return FileSource(open_video(source), now=now, paced=paced)
    address = resolve_secrets(source)
    timeout_s = network.open_timeout_s
    if problem := check_reachable(address, timeout_s=timeout_s):
        raise SourceError(f"source {redact(source)} can't be reached: {problem}")
    opened = (
        SubprocessCapture(address, network) if in_subprocess else open_network(address, network)
    )
    capture = _check_open(
        opened, source, partial(explain_open_failure, address, timeout_s=timeout_s)
    )
    if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return FileSource(VideoReader(capture, redact(source)), now=now)  # on a web server
    # ffmpeg invents timestamps for motion JPEG over HTTP, at 25 fps.
    motion_jpeg = int(capture.get(cv2.CAP_PROP_FOURCC)) == _MOTION_JPEG
    has_timestamps = not (motion_jpeg and address.lower().startswith("http"))
    return LiveSource(capture, redact(source), now=now, clock=clock, has_timestamps=has_timestamps)


def _check_open(capture: Capture, source: int | str, explain: Callable[[], str]) -> Capture:
    if capture.isOpened():
        return capture
    capture.release()
    raise SourceError(f"source {redact(source)} can't be reached: {explain()}")


class DemoSource:
    """A synthetic scene, endless and in real time; frames that were not grabbed are skipped."""

    finite = False

    def __init__(self, seed: int, *, now: Callable[[], float]) -> None:
        self._scene = Scene(seed)
        self._now = now
        self._started_at: float | None = None
        self._index = -1
        self._pixels: np.ndarray | None = None

    def grab(self, stop: StopEvent) -> FrameTime | None:
        if self._started_at is None:
            self._started_at = self._now()
        elapsed_s = self._now() - self._started_at
        self._index = max(self._index + 1, int(elapsed_s * _DEMO_FPS))
        time_s = self._index / _DEMO_FPS
        self._pixels = self._scene.render(time_s)  # before it is due: rendering needs time
        due_at = self._started_at + time_s
        if stop.wait(max(0.0, due_at - self._now())):
            return None
        return FrameTime(time_s, due_at)

    def retrieve(self) -> np.ndarray | None:
        return self._pixels

    def close(self) -> None:
        pass


class LiveSource:
    """A webcam or a network camera. `has_timestamps`: it delivers presentation times."""

    finite = False

    def __init__(
        self,
        capture: Capture,
        name: str,
        *,
        now: Callable[[], float],
        clock: SourceClock,
        has_timestamps: bool,
    ) -> None:
        self._capture = capture
        self._name = name
        self._now = now
        self._clock = clock
        self._has_timestamps = has_timestamps

    def grab(self, stop: StopEvent) -> FrameTime | None:
        while not stop.is_set():
            if not self._capture.grab():
                raise SourceError(f"source {self._name} delivers no more frames")
            if stop.is_set():  # abandoned meanwhile: the clock belongs to another session now
                return None
            arrived_at = self._now()
            presented_s = (
                self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if self._has_timestamps else None
            )
            time_s = self._clock.tick(presented_s, arrived_at)
            if time_s is not None:
                return FrameTime(time_s, arrived_at)
        return None

    def retrieve(self) -> np.ndarray | None:
        decoded, frame = self._capture.retrieve()
        return rgb(frame) if decoded else None

    def close(self) -> None:
        self._capture.release()


def _demo_seed(source: str) -> int:
    seed = source.removeprefix("demo:") or "0"
    if not (seed.isascii() and seed.isdigit()):
        raise SourceError(f"source {source}: write demo: or demo:SEED with a whole number")
    return int(seed)
