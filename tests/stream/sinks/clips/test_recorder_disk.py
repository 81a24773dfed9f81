from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.messages import Recorded
from stream.sinks.clips.recorder import RecorderError
from tests.conftest import Clock
from tests.studio import END_S, START_S, Studio, event, rate
from tests.waiting import wait_for

FULL = Path("/dev/full")
READ_ONLY = Path("/sys")  # even for root
AT_ONCE = 8  # pictures that are written for each time that the disk is asked for


@pytest.fixture
def studio(tmp_path: Path, clock: Clock) -> Iterator[Studio]:
    with Studio(tmp_path / "data", clock) as made:
        yield made


def full_from(asked: int) -> Callable[[], bool]:
    """Says that the disk is nearly full when it has been asked so often."""
    number = itertools.count()
    return lambda: next(number) < asked


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, a disk that is full")
def test_a_full_disk_costs_that_clip_and_nothing_else(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 13))
    (studio.folder / "clips" / "e1.mp4.part").symlink_to(FULL)
    (studio.folder / "snapshots" / "e2.jpg.part").symlink_to(FULL)
    recorder.follow(event("e1", end_s=END_S))
    recorder.follow(event("e2", end_s=END_S))
    rows = {row.event_id: row for row in (studio.row(0), studio.row(1))}
    full = "No space left on device"
    assert rows["e1"] == Recorded("e1", "", "e1.jpg", f"clip dropped: {full}")
    assert rows["e2"] == Recorded("e2", "e2.mp4", "", f"no snapshot: {full}", 5.0)
    assert studio.files() == ["clips/e2.mp4", "snapshots/e1.jpg"]
    assert studio.metrics.totals("door") == {"clips": 1, "dropped_clips": 1}


def test_nothing_is_begun_while_the_disk_is_nearly_full(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 13))
    studio.allowed = lambda: False
    recorder.follow(event(end_s=END_S))
    assert studio.row() == Recorded("e1", "", "", "no clip: disk nearly full")
    assert studio.files() == []
    studio.allowed = lambda: True
    recorder.follow(event("e2", end_s=END_S))
    assert studio.row(1).clip == "e2.mp4"


def test_a_clip_is_cut_when_the_disk_is_nearly_full(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 14))
    studio.allowed = full_from(7)
    recorder.follow(event(latest_s=12.0))
    clip = studio.folder / "clips" / "e1.mp4"
    wait_for(lambda: clip.exists())
    assert studio.rows == []  # its event goes on
    recorder.follow(event(latest_s=12.0, end_s=12.0))
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg", "cut: disk nearly full", 5.0)
    _, clocks = studio.clip()
    assert clocks[0] == pytest.approx(START_S - 3, abs=1 / 15)
    assert len(clocks) == 7 * AT_ONCE
    assert studio.files() == ["clips/e1.mp4", "snapshots/e1.jpg"]
    assert studio.metrics.totals() == {"clips": 1}


def test_a_clip_that_shows_nothing_of_its_event_yet_is_dropped(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 14))
    studio.allowed = full_from(3)
    recorder.follow(event(latest_s=12.0, end_s=12.0))
    assert studio.row() == Recorded("e1", "", "", "no clip: disk nearly full")
    assert studio.files() == []
    assert studio.metrics.totals() == {"dropped_clips": 1}


def test_a_clip_that_can_t_even_be_cut_is_dropped(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 14))
    asked, part = full_from(7), studio.folder / "clips" / "e1.mp4.part"

    def allowed() -> bool:
        if asked():
            return True
        part.unlink(missing_ok=True)
        return False

    studio.allowed = allowed
    recorder.follow(event(latest_s=12.0, end_s=12.0))
    assert studio.row() == Recorded("e1", "", "e1.jpg", "clip dropped: No such file or directory")
    assert studio.files() == ["snapshots/e1.jpg"]
    assert studio.metrics.totals() == {"dropped_clips": 1}


@pytest.mark.parametrize("name", ["clips", "snapshots"])
def test_a_folder_that_is_a_file_is_said_in_one_line(studio: Studio, name: str) -> None:
    studio.folder.mkdir()
    (studio.folder / name).write_bytes(b"mine")
    with pytest.raises(RecorderError) as raised:
        studio.start()
    assert str(raised.value) == (
        f"recording: {studio.folder / name} can't be used: it is not a folder; make it a folder"
        " that may be written to, or give another one with --data"
    )
    assert (studio.folder / name).read_bytes() == b"mine"


@pytest.mark.skipif(not READ_ONLY.is_dir(), reason="needs /sys, a folder that can't be written to")
def test_a_folder_that_can_t_be_written_to_is_said_in_one_line(studio: Studio) -> None:
    studio.folder.mkdir()
    (studio.folder / "clips").symlink_to(READ_ONLY)
    with pytest.raises(RecorderError, match=r"^recording: .*/clips can't be used: .*; make it .*$"):
        studio.start()
