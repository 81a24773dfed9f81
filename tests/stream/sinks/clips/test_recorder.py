from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.messages import EventMedia, Frame
from tests import burnt_clock
from tests.conftest import Clock
from tests.studio import END_S, START_S, RecorderHarness, event, frame_times
from tests.waiting import wait_for


def varying(seconds: float) -> list[float]:
    """Frame times of a camera with random delays."""
    gaps = np.random.default_rng(1).choice([0.02, 0.033, 0.05, 0.15, 0.4], 1000)
    times = np.round(np.cumsum(gaps), 3)
    return [float(time_s) for time_s in times if time_s <= seconds]


@pytest.fixture
def harness(tmp_path: Path, clock: Clock) -> Iterator[RecorderHarness]:
    with RecorderHarness(tmp_path / "data", clock) as made:
        yield made


@pytest.mark.parametrize(
    "times",
    [frame_times(15, 14), frame_times(30, 14), varying(14)],
    ids=["15 fps", "30 fps", "varying"],
)
def test_clip_contains_pre_roll_event_and_post_roll(
    harness: RecorderHarness, times: list[float]
) -> None:
    recorder = harness.start()
    harness.feed([time_s for time_s in times if time_s <= 9.4])
    recorder.on_event(event(latest_s=9.0))
    harness.feed([time_s for time_s in times if 9.4 < time_s <= 11.2])
    recorder.on_event(event(latest_s=10.5, peak=0.95, peak_s=9.77))
    recorder.on_event(event(end_s=END_S, latest_s=END_S, peak=0.95, peak_s=9.77))
    harness.feed([time_s for time_s in times if time_s > 11.2])
    start_s = next(one for one in times if one >= START_S - 3 - 0.02)
    assert harness.row() == EventMedia("e1", "e1.mp4", "e1.jpg", clip_start_s=start_s)
    assert harness.files() == ["clips/e1.mp4", "snapshots/e1.jpg"]

    shown, clocks = harness.clip()
    wanted = [one for one in times if START_S - 3 - 0.02 <= one <= END_S + 2]
    assert clocks == wanted  # each frame once, at its own time
    assert shown == pytest.approx([one - wanted[0] for one in wanted], abs=1e-4)
    before = max(one for one in times if one < wanted[0])
    after = min(one for one in times if one > wanted[-1])
    assert before < START_S - 3 <= wanted[0] + 0.02  # within one frame
    assert wanted[-1] <= END_S + 2 < after
    nearest = min(times, key=lambda one: abs(one - 9.77))
    assert harness.snapshot() == nearest
    assert harness.metrics.totals() == {"clips": 1}


@pytest.mark.parametrize(("smoothing", "end_s"), [(0.3, 11.1), (2.7, 9.6)])
def test_clip_of_an_open_event_is_written_up_to_its_earliest_possible_end(
    harness: RecorderHarness, smoothing: float, end_s: float
) -> None:
    recorder = harness.start(post_roll=1.5, smoothing=smoothing)
    harness.feed(frame_times(15, 14))
    recorder.on_event(event(latest_s=12.0))
    part = harness.folder / "clips" / "e1.mp4.part"
    wait_for(lambda: part.exists())
    # The event ends 0.9 s or 2.4 s before its latest time.
    recorder.on_event(event(latest_s=12.0, end_s=end_s))
    assert harness.row().note == ""
    _, clocks = harness.clip()
    assert clocks[-1] == pytest.approx(end_s + 1.5, abs=1 / 15)


def test_event_of_a_zone_is_recorded_from_its_camera(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 13))
    recorder.on_event(event(camera="door/gate", end_s=END_S))
    recorder.on_event(event("e2", camera="garden", end_s=END_S))  # no such camera
    assert harness.row() == EventMedia("e1", "e1.mp4", "e1.jpg", clip_start_s=5.0)
    harness.stop()
    assert len(harness.rows) == 1


def test_overlapping_events_have_a_clip_each(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 9))
    recorder.on_event(event(latest_s=9.0))
    recorder.on_event(event("e2", start_s=8.5, latest_s=9.0))
    harness.feed([one for one in frame_times(15, 15) if one > 9])
    recorder.on_event(event(end_s=10.0))
    recorder.on_event(event("e2", start_s=8.5, end_s=12.0))
    assert {harness.row(0).clip, harness.row(1).clip} == {"e1.mp4", "e2.mp4"}
    for name, first, last in (("e1", START_S - 3, 12.0), ("e2", 5.5, 14.0)):
        _, clocks = harness.clip(name)
        assert clocks[0] == pytest.approx(first, abs=1 / 15)
        assert clocks[-1] == pytest.approx(last, abs=1 / 15)


def test_clip_without_pre_roll_has_no_note_if_the_camera_just_started(
    harness: RecorderHarness,
) -> None:
    recorder = harness.start()
    harness.feed([one for one in frame_times(15, 13) if one >= 7])
    recorder.on_event(event(end_s=END_S))
    assert (harness.row().note, harness.row().clip_start_s) == ("", 7.0)
    _, clocks = harness.clip()
    assert clocks[0] == 7.0


def test_long_event_is_written_while_it_is_open(harness: RecorderHarness) -> None:
    """It needs no more memory than the buffer, and its peak may be long ago."""
    frame_bytes = len(harness.latest_frame.jpeg_of(Frame(burnt_clock.draw(0), 0, 0, -1)))
    recorder = harness.start(max_buffer=350 * frame_bytes)
    harness.feed(frame_times(15, 9))

    def oldest_s() -> float:
        assert harness.buffer is not None
        oldest = harness.buffer.first_from(0.0)
        assert oldest is not None
        return oldest.time_s

    for second in range(9, 69):
        recorder.on_event(event(latest_s=float(second)))
        harness.feed([one for one in frame_times(15, second + 1) if one > second])
        # Written frames are evicted after pre-roll and detection delay, 18 s.
        wait_for(lambda second=second: oldest_s() >= second + 1 - 19)  # type: ignore[misc]
    recorder.on_event(event(latest_s=67.0, end_s=67.0))
    assert harness.row() == EventMedia("e1", "e1.mp4", "e1.jpg", clip_start_s=5.0)
    shown, clocks = harness.clip()
    assert len(clocks) == pytest.approx(15 * 64, abs=2)
    assert clocks[-1] == pytest.approx(69.0, abs=1 / 15)
    assert shown[-1] == pytest.approx(64.0, abs=2 / 15)
    assert harness.snapshot() == pytest.approx(9.1, abs=1 / 15)


def test_clip_ends_when_the_camera_stops(harness: RecorderHarness, clock: Clock) -> None:
    recorder = harness.start(post_roll=10.0)
    harness.feed(frame_times(15, 11))
    recorder.on_event(event(end_s=END_S))
    wait_for(lambda: (harness.folder / "clips" / "e1.mp4.part").exists())
    assert harness.rows == []
    clock.seconds += 11.5  # the last frame was due after 9.5 s
    assert harness.row() == EventMedia("e1", "e1.mp4", "e1.jpg", clip_start_s=5.0)
    _, clocks = harness.clip()
    assert clocks[-1] == 11.0


def test_event_without_frames_has_no_clip(harness: RecorderHarness, clock: Clock) -> None:
    recorder = harness.start()
    recorder.on_event(event(end_s=END_S))
    clock.seconds += 3
    assert harness.row() == EventMedia(
        "e1", "", "", "clip dropped: the camera delivered no frames of the event"
    )
    harness.feed(frame_times(15, 4))
    recorder.on_event(event("e2", end_s=END_S))
    clock.seconds += 60
    row = harness.row(1)
    assert (row.clip, row.note) == ("", "clip dropped: the camera delivered no frames of the event")
