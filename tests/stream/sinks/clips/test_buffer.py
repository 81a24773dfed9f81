from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf

import numpy as np
import pytest

from stream.capture.latest_frame import LatestFrame
from stream.messages import Frame
from stream.runtime.metrics import Metrics
from stream.sinks.clips.buffer import ClipBuffer
from tests import burnt_clock
from tests.conftest import Clock
from tests.waiting import wait_for

FPS = 10


@contextmanager
def running(
    latest_frame: LatestFrame,
    metrics: Metrics,
    *,
    duration_s: float = 5.0,
    max_bytes: int = 10_000_000,
    clock: Clock | None = None,
    on_buffered: Callable[[], None] = lambda: None,
) -> Iterator[ClipBuffer]:
    buffer = ClipBuffer(
        "door",
        latest_frame,
        metrics,
        duration_s=duration_s,
        max_bytes=max_bytes,
        on_buffered=on_buffered,
        now=clock or Clock(),
    )
    buffer.start()
    try:
        yield buffer
    finally:
        buffer.request_stop()
        assert buffer.join(60)


def put(latest_frame: LatestFrame, index: int) -> None:
    time_s = index / FPS
    latest_frame.put(Frame(burnt_clock.draw(time_s), time_s, 100 + time_s, index))


def feed(latest_frame: LatestFrame, buffer: ClipBuffer, indices: range) -> None:
    """Put frames as fast as they are encoded."""
    for index in indices:
        put(latest_frame, index)
        if index % 4 == 0 or index == indices[-1]:
            wait_for(partial(is_newest, buffer, index / FPS))


def is_newest(buffer: ClipBuffer, time_s: float) -> bool:
    return buffer.newest_s == time_s


def times(buffer: ClipBuffer, after_s: float = -1.0, until_s: float = 1e9) -> list[int]:
    return [round(frame.time_s * FPS) for frame in buffer.between(after_s, until_s, 10_000)]


def test_frames_of_the_last_seconds_are_held() -> None:
    latest_frame = LatestFrame()
    with running(latest_frame, Metrics(), duration_s=2.0) as buffer:
        assert buffer.newest_s is None
        assert buffer.evicted_s is None
        feed(latest_frame, buffer, range(31))
        assert times(buffer, 0.95) == list(range(10, 31))
        assert times(buffer, 1.0, 1.5) == [11, 12, 13, 14, 15]
        assert len(buffer.between(1.0, 3.0, 4)) == 4
        assert buffer.evicted_s == pytest.approx(0.9)


def test_reading_evicted_frames_is_an_error() -> None:
    latest_frame = LatestFrame()
    with running(latest_frame, Metrics(), duration_s=1.0) as buffer:
        feed(latest_frame, buffer, range(31))
        with pytest.raises(LookupError, match=r"unwritten frames exceeded recording\.max_buffer"):
            buffer.between(1.0, 3.0, 10)


def test_finds_the_frame_nearest_to_a_time() -> None:
    latest_frame = LatestFrame()
    with running(latest_frame, Metrics()) as buffer:
        assert buffer.nearest(0.0) is None
        assert buffer.first_from(0.0) is None
        feed(latest_frame, buffer, range(11))
        for at_s, nearest in ((-5.0, 0.0), (0.44, 0.4), (0.46, 0.5), (99.0, 1.0)):
            frame = buffer.nearest(at_s)
            assert frame is not None
            assert frame.time_s == nearest
        first = buffer.first_from(0.41)
        assert first is not None
        assert first.time_s == 0.5
        assert buffer.first_from(1.01) is None


def test_needed_frames_are_retained_however_old() -> None:
    latest_frame = LatestFrame()
    with running(latest_frame, Metrics(), duration_s=1.0) as buffer:
        buffer.retain_from(0.5)
        feed(latest_frame, buffer, range(41))
        assert times(buffer, 0.45) == list(range(5, 41))
        buffer.retain_from(2.0)
        first = buffer.first_from(0.0)  # older frames are evicted at once
        assert first is not None
        assert first.time_s == 2.0
        buffer.retain_from(inf)
        assert times(buffer, 2.95) == list(range(30, 41))
        feed(latest_frame, buffer, range(41, 42))
        assert times(buffer, 3.05) == list(range(31, 42))


def test_memory_limit_holds_even_for_needed_frames() -> None:
    latest_frame = LatestFrame()
    with running(latest_frame, Metrics(), duration_s=100.0, max_bytes=60_000) as buffer:
        buffer.retain_from(0.0)
        for start in range(0, 200, 4):
            feed(latest_frame, buffer, range(start, start + 4))
            evicted_s = -1.0 if buffer.evicted_s is None else buffer.evicted_s
            frames = buffer.between(evicted_s, 1e9, 10_000)
            assert sum(len(frame.jpeg) for frame in frames) <= 60_000
        assert buffer.evicted_s is not None
        assert len(frames) > 2


def test_capture_is_never_blocked_and_drops_are_counted() -> None:
    latest_frame, metrics, resume = LatestFrame(), Metrics(), threading.Event()

    def hang() -> None:
        assert resume.wait(60)

    with running(latest_frame, metrics, on_buffered=hang) as buffer:
        put(latest_frame, 0)
        wait_for(lambda: buffer.newest_s == 0.0)
        for index in range(1, 21):
            put(latest_frame, index)  # returns at once, though the buffer's thread hangs
        assert metrics.totals("door") == {"recorder_dropped_frames": 12}
        resume.set()
        wait_for(lambda: buffer.newest_s == 0.8)
        feed(latest_frame, buffer, range(21, 22))
        frames = buffer.between(-1.0, 1e9, 100)
        assert [(round(frame.time_s * FPS), frame.dropped_before) for frame in frames] == [
            *((index, 0) for index in range(9)),
            (21, 12),
        ]


def test_jpegs_are_shared_with_viewers() -> None:
    latest_frame = LatestFrame()
    with running(latest_frame, Metrics()) as buffer:
        put(latest_frame, 3)
        shown = latest_frame.jpeg()
        wait_for(lambda: buffer.newest_s == 0.3)
        buffered = buffer.nearest(0.3)
        assert shown is not None
        assert buffered is not None
        assert buffered.jpeg is shown[1]


def test_idle_time_is_reset_by_each_frame(clock: Clock) -> None:
    latest_frame = LatestFrame()
    with running(latest_frame, Metrics(), clock=clock) as buffer:
        clock.seconds += 3
        assert buffer.idle_s == 3
        feed(latest_frame, buffer, range(1))
        assert buffer.idle_s == 0


def test_frame_that_is_not_later_is_skipped() -> None:
    latest_frame = LatestFrame()
    with running(latest_frame, Metrics()) as buffer:
        feed(latest_frame, buffer, range(5, 7))
        latest_frame.put(Frame(np.zeros((8, 8, 3), np.uint8), 0.6, 0.0, 7))
        feed(latest_frame, buffer, range(8, 9))
        assert times(buffer) == [5, 6, 8]


def test_crash_is_counted_and_no_more_frames_are_queued() -> None:
    def crash() -> None:
        raise RuntimeError("out of luck")

    latest_frame, metrics = LatestFrame(), Metrics()
    with running(latest_frame, metrics, on_buffered=crash) as buffer:
        put(latest_frame, 0)
        assert buffer.join(60)
        for index in range(1, 21):
            put(latest_frame, index)
        assert metrics.totals("door") == {"recorder_crashes": 1}


def test_stop_before_start() -> None:
    buffer = ClipBuffer("door", LatestFrame(), Metrics(), duration_s=1.0, max_bytes=1000)
    buffer.request_stop()
    assert buffer.join(0.1)
