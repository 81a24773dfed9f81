from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.capture.latest_frame import LatestFrame
from stream.config.events import EventsConfig, RecordingConfig
from stream.runtime.metrics import Metrics
from stream.sinks.clips.recorder import Recorder
from tests.conftest import Clock
from tests.studio import END_S, RecorderHarness, event, frame_times


@pytest.fixture
def harness(tmp_path: Path, clock: Clock) -> Iterator[RecorderHarness]:
    with RecorderHarness(tmp_path / "data", clock) as made:
        yield made


def test_unfinished_files_of_a_killed_run_are_deleted(harness: RecorderHarness) -> None:
    for name in ("clips/old.mp4.part", "snapshots/old.jpg.part", "clips/complete.mp4"):
        (harness.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (harness.folder / name).write_bytes(b"half")
    harness.start()
    assert harness.files() == ["clips/complete.mp4"]


def test_stop_finishes_open_clips_with_the_buffered_frames(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 11))
    recorder.on_event(event(latest_s=10.8))  # still open
    recorder.on_event(event("e2", end_s=END_S))  # ended, but its post-roll is incomplete
    harness.stop()
    assert [row.note for row in harness.rows] == ["", ""]
    assert harness.clip("e1")[1][-1] == 11.0
    assert harness.clip("e2")[1][-1] == 11.0
    assert len(harness.files()) == 4


def test_last_event_update_before_the_stop_is_processed(harness: RecorderHarness) -> None:
    """Also if update and stop arrive while the recorder is writing the clip."""
    recorder = harness.start(pre_roll=0.0, post_roll=1.0)
    harness.feed(frame_times(15, 14))
    writing, stop_requested = threading.Event(), threading.Event()

    def allowed() -> bool:
        writing.set()
        return stop_requested.wait(20)

    harness.allowed = allowed
    recorder.on_event(event(latest_s=8.4))  # few frames, written at once
    assert writing.wait(20)
    recorder.on_event(event(end_s=END_S))
    recorder.request_stop()
    stop_requested.set()
    harness.stop()
    assert harness.row().note == ""
    assert harness.clip()[1][-1] == pytest.approx(END_S + 1, abs=1 / 15)


def test_stop_drops_clips_that_need_too_long(harness: RecorderHarness) -> None:
    recorder = harness.start(pre_roll=20.0)
    harness.feed(
        frame_times(30, 20), lambda time_s: np.full((720, 960, 3), int(time_s * 10) % 255, np.uint8)
    )
    for number in range(4):
        recorder.on_event(event(f"e{number}", start_s=19.0, end_s=19.5))
    recorder.request_stop()
    recorder.join(0.0)
    assert recorder.join(20)
    notes = {row.note for row in harness.rows}
    assert notes == {"clip dropped: the run ended before it was written"}
    assert len(harness.rows) == 4
    assert all(name.startswith("snapshots/") for name in harness.files())


def test_stop_before_start(tmp_path: Path) -> None:
    recorder = Recorder(
        tmp_path, RecordingConfig(), EventsConfig(), Metrics(), on_media=lambda _: None
    )
    recorder.add_camera("door", LatestFrame())
    recorder.request_stop()
    assert recorder.join(0.1)


def test_late_event_update_does_not_change_the_clip(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 13))
    recorder.on_event(event(end_s=END_S))
    harness.row()
    before = (harness.folder / "clips" / "e1.mp4").stat()
    recorder.on_event(event(end_s=END_S - 1))
    recorder.on_event(event("e2", end_s=END_S))
    harness.row(1)
    harness.stop()
    assert [row.event_id for row in harness.rows] == ["e1", "e2"]
    after = (harness.folder / "clips" / "e1.mp4").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_clip_of_a_removed_camera_ends_with_the_buffered_frames(harness: RecorderHarness) -> None:
    recorder = harness.start()
    former = harness.buffer
    harness.feed(frame_times(15, 10))
    recorder.on_event(event())
    recorder.on_event(event(end_s=10.0))
    recorder.remove_camera("door")
    harness.clock.seconds += 60  # no frame arrives any more
    assert harness.row().note == ""
    assert harness.clip()[1][-1] == 10.0
    assert former is not None
    assert former.join(60)
    recorder.on_event(event("e2", end_s=END_S))  # not recorded

    harness.latest_frame = LatestFrame()  # another camera of the same name, with its own clock
    harness.buffer = recorder.add_camera("door", harness.latest_frame)
    harness.feed(frame_times(15, 4))
    recorder.on_event(event("e3", start_s=1.0, latest_s=2.0, peak_s=1.5, end_s=2.0))
    assert harness.row(1).event_id == "e3"
    assert harness.clip("e3")[1][0] == 0.0
