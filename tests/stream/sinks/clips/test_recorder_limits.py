from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stream.messages import EventMedia, Frame
from tests import burnt_clock
from tests.conftest import Clock
from tests.studio import END_S, START_S, RecorderHarness, event, frame_times
from tests.waiting import wait_for


@pytest.fixture
def harness(tmp_path: Path, clock: Clock) -> Iterator[RecorderHarness]:
    with RecorderHarness(tmp_path / "data", clock) as made:
        yield made


def test_late_start_of_a_clip_is_reported(harness: RecorderHarness) -> None:
    frame_bytes = len(harness.latest_frame.jpeg_of(Frame(burnt_clock.draw(0), 0, 0, -1)))
    recorder = harness.start(max_buffer=70 * frame_bytes)  # not quite five seconds
    harness.feed(frame_times(15, 11.5))
    recorder.on_event(event(end_s=9.0, start_s=9.0))
    row = harness.row()
    assert row.clip == "e1.mp4"
    _, clocks = harness.clip()
    assert clocks[0] > 6.5
    late = f"{clocks[0] - 6.0:.2f}"
    assert row.note == f"starts {late} s late: earlier frames were no longer buffered"


def test_clip_ends_before_frames_that_exceed_the_memory_limit(harness: RecorderHarness) -> None:
    frame_bytes = len(harness.latest_frame.jpeg_of(Frame(burnt_clock.draw(0), 0, 0, -1)))
    steps = 0

    def allowed() -> bool:
        nonlocal steps
        steps += 1
        return True

    harness.allowed = allowed
    recorder = harness.start(max_buffer=100 * frame_bytes)
    harness.feed(frame_times(15, 10))
    recorder.on_event(
        event(latest_s=8.5, peak_s=9.1)
    )  # then no update for long: the event may still be open
    wait_for(lambda: steps > 10)  # eight of 68 frames are written in each
    assert harness.buffer is not None
    for second in range(10, 25):
        harness.feed([one for one in frame_times(15, second + 1) if one > second])
        assert harness.buffered_bytes() <= 100 * frame_bytes
    wait_for(lambda: (harness.folder / "clips" / "e1.mp4").exists())
    assert harness.rows == []
    recorder.on_event(event(end_s=8.4, peak_s=9.1))
    assert harness.row() == EventMedia(
        "e1", "e1.mp4", "e1.jpg", "cut: unwritten frames exceeded recording.max_buffer", 5.0
    )
    _, clocks = harness.clip()
    assert clocks[0] == pytest.approx(START_S - 3, abs=1 / 15)
    assert clocks[-1] == pytest.approx(8.5 + 2 - 1, abs=1 / 15)  # up to the earliest possible end
    assert harness.snapshot() == pytest.approx(9.1, abs=1 / 15)
    assert harness.metrics.totals() == {"clips": 1}


def test_clip_is_dropped_if_frames_of_the_event_exceed_the_memory_limit(
    harness: RecorderHarness,
) -> None:
    frame_bytes = len(harness.latest_frame.jpeg_of(Frame(burnt_clock.draw(0), 0, 0, -1)))
    recorder = harness.start(max_buffer=100 * frame_bytes, post_roll=0.0)
    harness.feed(frame_times(15, 10))
    recorder.on_event(event(latest_s=8.5, peak_s=9.1))  # so it may end at its start
    for second in range(10, 25):
        harness.feed([one for one in frame_times(15, second + 1) if one > second])
    wait_for(lambda: harness.metrics.total("dropped_clips") == 1)
    recorder.on_event(event(end_s=24.0))
    assert harness.row() == EventMedia(
        "e1",
        "",
        "e1.jpg",
        "clip dropped: unwritten frames exceeded recording.max_buffer",
    )
    assert harness.files() == ["snapshots/e1.jpg"]
    assert harness.metrics.totals() == {"dropped_clips": 1}


def test_clip_is_cut_at_its_maximum_duration(harness: RecorderHarness) -> None:
    recorder = harness.start(max_duration=6.0)
    harness.feed(frame_times(15, 9))
    recorder.on_event(event(latest_s=9.0))
    harness.feed([one for one in frame_times(15, 20) if one > 9])
    recorder.on_event(event(latest_s=19.0, peak_s=18.0))
    # The clip is complete long before the event ends, and before its peak.
    wait_for(lambda: (harness.folder / "clips" / "e1.mp4").exists())
    assert harness.rows == []
    recorder.on_event(event(latest_s=19.0, end_s=19.0, peak_s=18.0))
    assert harness.row() == EventMedia("e1", "e1.mp4", "e1.jpg", "cut after 6 s", 5.0)
    _, clocks = harness.clip()
    assert clocks[-1] - clocks[0] == pytest.approx(6.0, abs=1 / 15)
    assert harness.snapshot() == 18.0


def test_drops_under_load_are_reported_in_the_note(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 9))
    large = np.zeros((2160, 3840, 3), np.uint8)  # encoding is much slower than drawing
    for number in range(60):
        time_s = 9.001 + number / 60
        harness.latest_frame.put(Frame(large, time_s, harness.clock(), 1000 + number))
    dropped_frames = harness.metrics.total("recorder_dropped_frames")
    assert dropped_frames > 0
    wait_for(lambda: harness.buffer is not None and (harness.buffer.newest_s or 0) > 9.0)
    harness.feed([one for one in frame_times(15, 14) if one > 10.5])
    recorder.on_event(event(end_s=END_S))
    dropped_frames = harness.metrics.total("recorder_dropped_frames")
    assert harness.row() == EventMedia(
        "e1",
        "e1.mp4",
        "e1.jpg",
        f"{dropped_frames} frames were dropped: the machine was overloaded",
        5.0,
    )


def test_clips_above_the_limit_of_open_clips_are_dropped(harness: RecorderHarness) -> None:
    recorder = harness.start(pre_roll=0.0)
    harness.feed(frame_times(15, 12), partial(burnt_clock.draw, width=64, height=48))
    for number in range(20):
        recorder.on_event(event(f"e{number}", latest_s=10.0))
    wait_for(lambda: harness.metrics.total("dropped_clips") == 4)
    for number in range(20):
        recorder.on_event(event(f"e{number}", end_s=10.0))
    wait_for(lambda: len(harness.rows) == 20)
    assert sum(row.clip != "" for row in harness.rows) == 16
    dropped = {row.note for row in harness.rows if not row.clip}
    assert dropped == {"clip dropped: 16 other clips were open"}
