from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from stream.capture.latest_frame import LatestPicture
from stream.messages import Frame
from stream.runtime.metrics import Metrics
from stream.sinks.clips.buffer import ClipBuffer
from tests import burnt_clock
from tests.conftest import Clock
from tests.waiting import wait_for

FPS = 10


@contextmanager
def running(
    picture: LatestPicture,
    metrics: Metrics,
    *,
    keep_s: float = 5.0,
    memory: int = 10_000_000,
    clock: Clock | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> Iterator[ClipBuffer]:
    buffer = ClipBuffer(
        "door",
        picture,
        metrics,
        keep_s=keep_s,
        memory=memory,
        on_picture=on_picture,
        now=clock or Clock(),
    )
    buffer.start()
    try:
        yield buffer
    finally:
        buffer.tell_stop()
        assert buffer.join(10)


def put(picture: LatestPicture, index: int) -> None:
    time_s = index / FPS
    picture.put(Frame(burnt_clock.draw(time_s), time_s, 100 + time_s, index))


def feed(picture: LatestPicture, buffer: ClipBuffer, indices: range) -> None:
    """As fast as pictures are encoded."""
    for index in indices:
        put(picture, index)
        if index % 4 == 0 or index == indices[-1]:
            wait_for(partial(is_newest, buffer, index / FPS))


def is_newest(buffer: ClipBuffer, time_s: float) -> bool:
    return buffer.newest_s == time_s


def times(buffer: ClipBuffer, after_s: float = -1.0, until_s: float = 1e9) -> list[int]:
    return [round(one.time_s * FPS) for one in buffer.between(after_s, until_s, 10_000)]


def test_keeps_the_pictures_of_the_last_seconds() -> None:
    picture = LatestPicture()
    with running(picture, Metrics(), keep_s=2.0) as buffer:
        assert buffer.newest_s is None
        assert buffer.lost_s is None
        feed(picture, buffer, range(31))
        assert times(buffer, 0.95) == list(range(10, 31))
        assert times(buffer, 1.0, 1.5) == [11, 12, 13, 14, 15]
        assert len(buffer.between(1.0, 3.0, 4)) == 4
        assert buffer.lost_s == pytest.approx(0.9)


def test_says_when_pictures_had_to_go() -> None:
    picture = LatestPicture()
    with running(picture, Metrics(), keep_s=1.0) as buffer:
        feed(picture, buffer, range(31))
        with pytest.raises(LookupError, match=r"more pictures waited than recording\.memory"):
            buffer.between(1.0, 3.0, 10)


def test_finds_the_picture_nearest_to_a_moment() -> None:
    picture = LatestPicture()
    with running(picture, Metrics()) as buffer:
        assert buffer.nearest(0.0) is None
        assert buffer.first_from(0.0) is None
        feed(picture, buffer, range(11))
        for at_s, nearest in ((-5.0, 0.0), (0.44, 0.4), (0.46, 0.5), (99.0, 1.0)):
            found = buffer.nearest(at_s)
            assert found is not None
            assert found.time_s == nearest
        first = buffer.first_from(0.41)
        assert first is not None
        assert first.time_s == 0.5
        assert buffer.first_from(1.01) is None


def test_keeps_what_is_needed_however_old() -> None:
    picture = LatestPicture()
    with running(picture, Metrics(), keep_s=1.0) as buffer:
        buffer.need_from(0.5)
        feed(picture, buffer, range(41))
        assert times(buffer, 0.45) == list(range(5, 41))
        buffer.need_from(None)
        feed(picture, buffer, range(41, 42))
        assert times(buffer, 3.05) == list(range(31, 42))


def test_takes_no_more_memory_than_it_may_even_for_what_is_needed() -> None:
    picture = LatestPicture()
    with running(picture, Metrics(), keep_s=100.0, memory=60_000) as buffer:
        buffer.need_from(0.0)
        for start in range(0, 200, 4):
            feed(picture, buffer, range(start, start + 4))
            assert buffer.bytes_kept <= 60_000
        assert buffer.lost_s is not None
        kept = buffer.between(buffer.lost_s, 1e9, 10_000)
        assert len(kept) > 2
        assert sum(len(one.jpeg) for one in kept) == buffer.bytes_kept


def test_capture_is_not_held_up_and_the_hole_is_known() -> None:
    picture, metrics, go_on = LatestPicture(), Metrics(), threading.Event()

    def hang() -> None:
        assert go_on.wait(60)

    with running(picture, metrics, on_picture=hang) as buffer:
        put(picture, 0)
        wait_for(lambda: buffer.newest_s == 0.0)
        for index in range(1, 21):
            put(picture, index)  # returns at once, though the buffer's thread hangs
        assert metrics.totals("door") == {"unrecorded_frames": 12}
        go_on.set()
        wait_for(lambda: buffer.newest_s == 0.8)
        feed(picture, buffer, range(21, 22))
        kept = buffer.between(-1.0, 1e9, 100)
        assert [(round(one.time_s * FPS), one.missed) for one in kept] == [
            *((index, 0) for index in range(9)),
            (21, 12),
        ]


def test_the_recorder_uses_the_jpegs_of_viewers() -> None:
    picture = LatestPicture()
    with running(picture, Metrics()) as buffer:
        put(picture, 3)
        seen = picture.jpeg()
        wait_for(lambda: buffer.newest_s == 0.3)
        kept = buffer.nearest(0.3)
        assert seen is not None
        assert kept is not None
        assert kept.jpeg is seen[1]


def test_knows_how_long_nothing_came(clock: Clock) -> None:
    picture = LatestPicture()
    with running(picture, Metrics(), clock=clock) as buffer:
        clock.seconds += 3
        assert buffer.quiet_s == 3
        feed(picture, buffer, range(1))
        assert buffer.quiet_s == 0


def test_a_picture_that_is_not_later_is_left_out() -> None:
    picture = LatestPicture()
    with running(picture, Metrics()) as buffer:
        feed(picture, buffer, range(5, 7))
        picture.put(Frame(np.zeros((8, 8, 3), np.uint8), 0.6, 0.0, 7))
        feed(picture, buffer, range(8, 9))
        assert times(buffer) == [5, 6, 8]


def test_can_be_stopped_before_it_was_started() -> None:
    buffer = ClipBuffer("door", LatestPicture(), Metrics(), keep_s=1.0, memory=1000)
    buffer.tell_stop()
    assert buffer.join(0.1)
