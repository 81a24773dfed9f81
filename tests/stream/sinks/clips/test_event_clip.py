from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stream.capture.latest_frame import LatestPicture
from stream.config.events import RecordingConfig
from stream.messages import Event, Frame
from stream.runtime.metrics import Metrics
from stream.sinks.clips.buffer import ClipBuffer
from stream.sinks.clips.event_clip import EventClip
from stream.sinks.clips.mp4 import ClipFile
from tests import burnt_clock
from tests.conftest import Clock
from tests.waiting import wait_for

CONFIG = RecordingConfig(pre_roll=1.0, post_roll=4.0)
EVENT = Event(
    id="e1",
    camera="door",
    label="wave",
    start_s=2.0,
    latest_s=3.0,
    end_s=3.0,
    detected_s=2.5,
    peak=0.9,
    peak_s=2.6,
    mean=0.8,
)


@pytest.fixture
def buffer(clock: Clock) -> Iterator[ClipBuffer]:
    """With pictures of five seconds, at five a second."""
    picture = LatestPicture()
    buffer = ClipBuffer("door", picture, Metrics(), keep_s=20.0, memory=10_000_000, now=clock)
    buffer.start()
    try:
        for index in range(26):
            time_s = index / 5
            picture.put(Frame(burnt_clock.draw(time_s), time_s, 0.0, index))
            if index % 5 == 0:
                wait_for(lambda: buffer.newest_s == time_s)  # noqa: B023 - called at once
        yield buffer
    finally:
        buffer.tell_stop()
        assert buffer.join(10)


def clip_of(
    buffer: ClipBuffer, folder: Path, event: Event = EVENT, set_back_s: float = 1.0
) -> EventClip:
    return EventClip(
        event,
        buffer,
        CONFIG,
        lambda: ClipFile(folder / "e1.mp4", 960),
        set_back_s=set_back_s,
    )


def write_all(clip: EventClip) -> None:
    while clip.write(stopping=False):
        pass


def test_waits_for_pictures_until_they_are_two_seconds_late(
    buffer: ClipBuffer, tmp_path: Path, clock: Clock
) -> None:
    clip = clip_of(buffer, tmp_path)
    write_all(clip)
    assert clip.is_open
    clock.seconds += 3.9  # the last one was to come after two
    write_all(clip)
    assert not clip.over
    clock.seconds += 0.2
    write_all(clip)
    assert clip.whole
    assert clip.notes == []


def test_needs_only_what_is_not_written_yet(buffer: ClipBuffer, tmp_path: Path) -> None:
    clip = clip_of(buffer, tmp_path)
    assert clip.needed_s == pytest.approx(1.0, abs=0.05)
    write_all(clip)
    assert clip.needed_s == 5.0
    clip.drop("enough")
    assert clip.needed_s is None
    assert clip.notes == ["enough"]
    assert list(tmp_path.iterdir()) == []


def test_the_snapshot_follows_the_peak(buffer: ClipBuffer, tmp_path: Path) -> None:
    clip = clip_of(buffer, tmp_path)
    clip.look_at_peak()
    assert clip.snapshot is not None
    assert clip.snapshot.time_s == 2.6
    clip.event = replace(EVENT, peak_s=4.4)
    clip.look_at_peak()
    assert clip.snapshot.time_s == 4.4


@pytest.mark.parametrize(("set_back_s", "written_s"), [(2.5, 4.4), (4.0, 3.0)])
def test_is_written_as_far_as_its_end_can_t_be_set_back(
    buffer: ClipBuffer, tmp_path: Path, set_back_s: float, written_s: float
) -> None:
    clip = clip_of(buffer, tmp_path, replace(EVENT, end_s=None), set_back_s)
    write_all(clip)
    assert clip.needed_s == written_s
    clip.drop("enough")


def test_is_cut_with_what_is_there(buffer: ClipBuffer, tmp_path: Path) -> None:
    clip = clip_of(buffer, tmp_path)
    assert not clip.shows_event
    assert clip.write(stopping=False)  # there is more
    assert clip.shows_event
    clip.cut("no more room")
    assert (clip.whole, clip.over, clip.notes) == (True, True, ["cut: no more room"])
    assert [file.name for file in tmp_path.iterdir()] == ["e1.mp4"]


def test_pictures_that_are_missing_at_its_end_are_told(tmp_path: Path, clock: Clock) -> None:
    picture, go_on = LatestPicture(), threading.Event()

    def hang() -> None:
        assert go_on.wait(60)

    buffer = ClipBuffer(
        "door",
        picture,
        Metrics(),
        keep_s=20.0,
        memory=10_000_000,
        on_picture=hang,
        now=clock,
    )
    buffer.start()
    try:
        picture.put(Frame(burnt_clock.draw(1.0), 1.0, 0.0, 0))
        wait_for(lambda: buffer.newest_s == 1.0)
        for index in range(1, 41):  # every 0.2 s; those of 1.2 to 2.6 s have room to wait
            picture.put(Frame(burnt_clock.draw(1 + index / 5), 1 + index / 5, 0.0, index))
        go_on.set()
        wait_for(lambda: buffer.newest_s == 2.6)
        picture.put(Frame(burnt_clock.draw(9.2), 9.2, 0.0, 41))
        wait_for(lambda: buffer.newest_s == 9.2)
        clip = clip_of(buffer, tmp_path)
        write_all(clip)
    finally:
        buffer.tell_stop()
        assert buffer.join(10)
    assert clip.whole
    # From 2.8 to 7.0 s, where its post-roll ends.
    assert clip.notes == ["22 pictures are missing: the machine was too busy"]
