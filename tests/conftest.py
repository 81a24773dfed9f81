"""Fixtures that many tests share."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser

from stream.messages import ClipSpec
from stream.runtime.processes import limit_malloc_arenas, limit_openmp_spin
from tests.browser import chromium
from tests.mosquitto import Broker, Subscriber
from tests.rtsp import Server

# Before torch is imported. Test processes share the cores with each other, and with the programs
# that they start: a second OpenMP thread only spins there, and slows training tests down by a
# factor of ten on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
limit_openmp_spin()
limit_malloc_arenas()  # else each thread that a test starts keeps memory for the next ones


def pytest_collection_finish() -> None:
    gc.freeze()  # no collection needs to scan all modules and tests again


@pytest.fixture(autouse=True, scope="module")
def _memory_is_returned() -> Iterator[None]:
    """Free what a module has left in reference cycles: figures, networks."""
    yield
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


class Clock:
    """A clock that advances only when a test sets it."""

    def __init__(self, seconds: float = 100.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class ClockStop(threading.Event):
    """A stop event whose `wait` advances the clock, so that no test waits."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            assert timeout is not None, "waits without a timeout"
            self._clock.seconds += timeout
        return self.is_set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clock_stop(clock: Clock) -> ClockStop:
    return ClockStop(clock)


@pytest.fixture
def spec() -> ClipSpec:
    """Four frames over 0.4 s, 8 x 8 pixels."""
    return ClipSpec(
        model="small",
        labels=("still", "jump", "run"),
        background=frozenset({"still"}),
        frames=4,
        span_s=0.4,
        height=8,
        width=8,
        fit="squash",
    )


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    """Encode frames, RGB uint8 (H, W, 3), as an MP4 file."""

    def write(frames: list[np.ndarray], *, fps: float = 25.0, name: str = "clip.mp4") -> Path:
        file = tmp_path / name
        height, width = frames[0].shape[:2]
        writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
        return file

    return write


@pytest.fixture(autouse=True)
def _no_thread_is_left_running() -> Iterator[None]:
    """Check that a test has ended all threads that it started."""
    before = set(threading.enumerate())
    yield
    # Thread pools of other packages end with the interpreter.
    ours = (
        "camera",
        "capture",
        "scheduler",
        "event processor",
        "supervisor",
        "dashboard",
        "event log",
        "retention",
        "recorder",
        "alert",
        "publisher",
    )
    left = [
        thread for thread in set(threading.enumerate()) - before if thread.name.startswith(ours)
    ]
    for thread in left:
        thread.join(60)  # a run stops waiting after its timeout, on a busy machine too early
    assert not [thread.name for thread in left if thread.is_alive()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all pages of a module. While it runs, `asyncio.run` fails."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def serve_rtsp() -> Iterator[Callable[..., Server]]:
    """Start real RTSP servers with options of tests/rtsp_server.py; they are killed afterwards."""
    started: list[Server] = []

    def start(*options: str) -> Server:
        started.append(Server(*options))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A real mosquitto broker; for tests that are marked with its requirement."""
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder)
    yield broker
    broker.kill()


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    subscriber = Subscriber(broker.port)
    yield subscriber
    subscriber.stop()
