from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from stream.capture.latest_frame import LatestFrame
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
    """A buffer with five seconds of frames, at 5 fps."""
    latest_frame = LatestFrame()
    buffer = ClipBuffer(
        "door", latest_frame, Metrics(), duration_s=20.0, max_bytes=10_000_000, now=clock
    )
    buffer.start()
    try:
        for index in range(26):
            time_s = index / 5
            latest_frame.put(Frame(burnt_clock.draw(time_s), time_s, 0.0, index))
            if index % 5 == 0:
                wait_for(lambda: buffer.newest_s == time_s)  # noqa: B023 - called at once
        yield buffer
    finally:
        buffer.request_stop()
        assert buffer.join(60)


def make_clip(
    buffer: ClipBuffer, folder: Path, event: Event = EVENT, max_end_shift_s: float = 1.0
) -> EventClip:
    return EventClip(
        event,
        buffer,
        CONFIG,
        lambda event_id: ClipFile(folder / f"{event_id}.mp4", 960),
        max_end_shift_s=max_end_shift_s,
    )


def write_all(clip: EventClip) -> None:
    while clip.write(stopping=False):
        pass


def test_frames_time_out_two_seconds_after_they_are_due(
    buffer: ClipBuffer, tmp_path: Path, clock: Clock
) -> None:
    clip = make_clip(buffer, tmp_path)
    write_all(clip)
    assert clip.is_open
    clock.seconds += 3.9  # the last frame was due after two
    write_all(clip)
    assert not clip.is_done
    clock.seconds += 0.2
    write_all(clip)
    assert clip.is_complete
    assert clip.notes == []


def test_needs_only_frames_that_are_not_written_yet(buffer: ClipBuffer, tmp_path: Path) -> None:
    clip = make_clip(buffer, tmp_path)
    assert clip.needed_from_s == pytest.approx(1.0, abs=0.05)
    write_all(clip)
    assert clip.needed_from_s == 5.0
    clip.drop("enough")
    assert clip.needed_from_s == inf
    assert clip.notes == ["enough"]
    assert list(tmp_path.iterdir()) == []


def test_the_snapshot_follows_the_peak(buffer: ClipBuffer, tmp_path: Path) -> None:
    clip = make_clip(buffer, tmp_path)
    clip.update_snapshot()
    assert clip.snapshot is not None
    assert clip.snapshot.time_s == 2.6
    clip.event = replace(EVENT, peak_s=4.4)
    clip.update_snapshot()
    assert clip.snapshot.time_s == 4.4


@pytest.mark.parametrize(("max_end_shift_s", "written_s"), [(2.5, 4.4), (4.0, 3.0)])
def test_open_event_is_written_up_to_its_earliest_possible_end(
    buffer: ClipBuffer, tmp_path: Path, max_end_shift_s: float, written_s: float
) -> None:
    clip = make_clip(buffer, tmp_path, replace(EVENT, end_s=None), max_end_shift_s)
    write_all(clip)
    assert clip.needed_from_s == written_s
    clip.drop("enough")


def test_cut_clip_ends_with_the_written_frames(buffer: ClipBuffer, tmp_path: Path) -> None:
    clip = make_clip(buffer, tmp_path)
    assert not clip.shows_event
    assert clip.write(stopping=False)  # more frames are ready
    assert clip.shows_event
    clip.cut("disk full")
    assert (clip.is_complete, clip.is_done, clip.notes) == (True, True, ["cut: disk full"])
    assert [file.name for file in tmp_path.iterdir()] == ["e1.mp4"]


def test_drops_at_the_end_of_the_clip_are_reported(tmp_path: Path, clock: Clock) -> None:
    latest_frame, resume = LatestFrame(), threading.Event()

    def hang() -> None:
        assert resume.wait(60)

    buffer = ClipBuffer(
        "door",
        latest_frame,
        Metrics(),
        duration_s=20.0,
        max_bytes=10_000_000,
        on_buffered=hang,
        now=clock,
    )
    buffer.start()
    try:
        latest_frame.put(Frame(burnt_clock.draw(1.0), 1.0, 0.0, 0))
        wait_for(lambda: buffer.newest_s == 1.0)
        for index in range(1, 41):  # every 0.2 s; those of 1.2 to 2.6 s fit into the queue
            latest_frame.put(Frame(burnt_clock.draw(1 + index / 5), 1 + index / 5, 0.0, index))
        resume.set()
        wait_for(lambda: buffer.newest_s == 2.6)
        latest_frame.put(Frame(burnt_clock.draw(9.2), 9.2, 0.0, 41))
        wait_for(lambda: buffer.newest_s == 9.2)
        clip = make_clip(buffer, tmp_path)
        write_all(clip)
    finally:
        buffer.request_stop()
        assert buffer.join(60)
    assert clip.is_complete
    # From 2.8 to 7.0 s, where its post-roll ends.
    assert clip.notes == ["22 frames were dropped: the machine was overloaded"]
