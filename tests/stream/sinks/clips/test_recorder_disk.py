from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.messages import EventMedia
from stream.sinks.clips.recorder import RecorderError
from tests.conftest import Clock
from tests.studio import END_S, START_S, RecorderHarness, event, frame_times
from tests.waiting import wait_for

FULL = Path("/dev/full")
READ_ONLY = Path("/sys")  # even for root
FRAMES_PER_WRITE = 8  # frames written after each check of the disk


@pytest.fixture
def harness(tmp_path: Path, clock: Clock) -> Iterator[RecorderHarness]:
    with RecorderHarness(tmp_path / "data", clock) as made:
        yield made


def allowed_times(checks: int) -> Callable[[], bool]:
    """Returns True for the first checks; then the disk is nearly full."""
    number = itertools.count()
    return lambda: next(number) < checks


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, an always full disk")
def test_full_disk_loses_only_that_clip(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 13))
    (harness.folder / "clips" / "e1.mp4.part").symlink_to(FULL)
    (harness.folder / "snapshots" / "e2.jpg.part").symlink_to(FULL)
    recorder.on_event(event("e1", end_s=END_S))
    recorder.on_event(event("e2", end_s=END_S))
    rows = {row.event_id: row for row in (harness.row(0), harness.row(1))}
    full = "No space left on device"
    assert rows["e1"] == EventMedia("e1", "", "e1.jpg", f"clip dropped: {full}")
    assert rows["e2"] == EventMedia("e2", "e2.mp4", "", f"no snapshot: {full}", 5.0)
    assert harness.files() == ["clips/e2.mp4", "snapshots/e1.jpg"]
    assert harness.metrics.totals("door") == {"clips": 1, "dropped_clips": 1}


def test_no_clip_is_started_while_the_disk_is_nearly_full(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 13))
    harness.allowed = lambda: False
    recorder.on_event(event(end_s=END_S))
    assert harness.row() == EventMedia("e1", "", "", "no clip: disk nearly full")
    assert harness.files() == []
    harness.allowed = lambda: True
    recorder.on_event(event("e2", end_s=END_S))
    assert harness.row(1).clip == "e2.mp4"


def test_open_clip_is_cut_when_the_disk_is_nearly_full(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 14))
    harness.allowed = allowed_times(7)
    recorder.on_event(event(latest_s=12.0))
    clip = harness.folder / "clips" / "e1.mp4"
    wait_for(lambda: clip.exists())
    assert harness.rows == []  # its event is still open
    recorder.on_event(event(latest_s=12.0, end_s=12.0))
    assert harness.row() == EventMedia("e1", "e1.mp4", "e1.jpg", "cut: disk nearly full", 5.0)
    _, clocks = harness.clip()
    assert clocks[0] == pytest.approx(START_S - 3, abs=1 / 15)
    assert len(clocks) == 7 * FRAMES_PER_WRITE
    assert harness.files() == ["clips/e1.mp4", "snapshots/e1.jpg"]
    assert harness.metrics.totals() == {"clips": 1}


def test_clip_without_frames_of_its_event_is_dropped(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 14))
    harness.allowed = allowed_times(3)
    recorder.on_event(event(latest_s=12.0, end_s=12.0))
    assert harness.row() == EventMedia("e1", "", "", "no clip: disk nearly full")
    assert harness.files() == []
    assert harness.metrics.totals() == {"dropped_clips": 1}


def test_clip_that_cannot_be_cut_is_dropped(harness: RecorderHarness) -> None:
    recorder = harness.start()
    harness.feed(frame_times(15, 14))
    is_allowed, part = allowed_times(7), harness.folder / "clips" / "e1.mp4.part"

    def allowed() -> bool:
        if is_allowed():
            return True
        part.unlink(missing_ok=True)
        return False

    harness.allowed = allowed
    recorder.on_event(event(latest_s=12.0, end_s=12.0))
    assert harness.row() == EventMedia(
        "e1", "", "e1.jpg", "clip dropped: No such file or directory"
    )
    assert harness.files() == ["snapshots/e1.jpg"]
    assert harness.metrics.totals() == {"dropped_clips": 1}


@pytest.mark.parametrize("name", ["clips", "snapshots"])
def test_file_in_place_of_a_folder_is_reported_in_one_line(
    harness: RecorderHarness, name: str
) -> None:
    harness.folder.mkdir()
    (harness.folder / name).write_bytes(b"mine")
    with pytest.raises(RecorderError) as raised:
        harness.start()
    assert str(raised.value) == (
        f"recording: {harness.folder / name} can't be used: it is not a folder; make it a"
        " writable folder, or choose another one with --data"
    )
    assert (harness.folder / name).read_bytes() == b"mine"


@pytest.mark.skipif(not READ_ONLY.is_dir(), reason="needs /sys, a read-only folder")
def test_read_only_folder_is_reported_in_one_line(harness: RecorderHarness) -> None:
    harness.folder.mkdir()
    (harness.folder / "clips").symlink_to(READ_ONLY)
    with pytest.raises(RecorderError, match=r"^recording: .*/clips can't be used: .*; make it .*$"):
        harness.start()
