from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.capture.latest_frame import LatestPicture
from stream.config.events import RecordingConfig
from stream.runtime.metrics import Metrics
from stream.sinks.clips.recorder import Recorder
from tests.conftest import Clock
from tests.studio import END_S, Studio, event, rate


@pytest.fixture
def studio(tmp_path: Path, clock: Clock) -> Iterator[Studio]:
    with Studio(tmp_path / "data", clock) as made:
        yield made


def test_what_a_killed_run_left_is_cleared_away(studio: Studio) -> None:
    for name in ("clips/old.mp4.part", "snapshots/old.jpg.part", "clips/whole.mp4"):
        (studio.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (studio.folder / name).write_bytes(b"half")
    studio.start()
    assert studio.files() == ["clips/whole.mp4"]


def test_the_stop_finishes_what_is_open_with_what_is_there(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 11))
    recorder.follow(event(latest_s=10.8))  # still open
    recorder.follow(event("e2", end_s=END_S))  # ended, but its post-roll is to come
    studio.stop()
    assert [row.note for row in studio.rows] == ["", ""]
    assert studio.clip("e1")[1][-1] == 11.0
    assert studio.clip("e2")[1][-1] == 11.0
    assert len(studio.files()) == 4


def test_the_end_of_an_event_that_comes_with_the_stop_is_heard(studio: Studio) -> None:
    """Also where both come while the recorder is at work on what it knew of it before."""
    recorder = studio.start(pre_roll=0.0, post_roll=1.0)
    studio.feed(rate(15, 14))
    at_work, told = threading.Event(), threading.Event()

    def allowed() -> bool:
        at_work.set()
        return told.wait(20)

    studio.allowed = allowed
    recorder.follow(event(latest_s=8.4))  # few pictures, written in one go
    assert at_work.wait(20)
    recorder.follow(event(end_s=END_S))
    recorder.tell_stop()
    told.set()
    studio.stop()
    assert studio.row().note == ""
    assert studio.clip()[1][-1] == pytest.approx(END_S + 1, abs=1 / 15)


def test_the_stop_drops_what_takes_too_long(studio: Studio) -> None:
    recorder = studio.start(pre_roll=20.0)
    studio.feed(
        rate(30, 20), lambda time_s: np.full((720, 960, 3), int(time_s * 10) % 255, np.uint8)
    )
    for number in range(4):
        recorder.follow(event(f"e{number}", start_s=19.0, end_s=19.5))
    recorder.tell_stop()
    recorder.join(0.0)
    assert recorder.join(20)
    notes = {row.note for row in studio.rows}
    assert notes == {"clip dropped: the watch ended before it was written"}
    assert len(studio.rows) == 4
    assert all(name.startswith("snapshots/") for name in studio.files())


def test_can_be_stopped_before_it_was_started(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, RecordingConfig(), Metrics(), on_recorded=lambda _: None)
    recorder.watch("door", LatestPicture())
    recorder.tell_stop()
    assert recorder.join(0.1)


def test_late_news_of_an_event_leaves_its_clip_alone(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 13))
    recorder.follow(event(end_s=END_S))
    studio.row()
    before = (studio.folder / "clips" / "e1.mp4").stat()
    recorder.follow(event(end_s=END_S - 1))
    recorder.follow(event("e2", end_s=END_S))
    studio.row(1)
    studio.stop()
    assert [row.event_id for row in studio.rows] == ["e1", "e2"]
    after = (studio.folder / "clips" / "e1.mp4").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_clip_of_a_camera_that_was_removed_ends_with_what_is_there(studio: Studio) -> None:
    recorder = studio.start()
    former = studio.buffer
    studio.feed(rate(15, 10))
    recorder.follow(event())
    recorder.follow(event(end_s=10.0))
    recorder.unwatch("door")
    studio.clock.seconds += 60  # nothing comes any more
    assert studio.row().note == ""
    assert studio.clip()[1][-1] == 10.0
    assert former is not None
    assert former.join(10)
    recorder.follow(event("e2", end_s=END_S))  # nobody watches it

    studio.picture = LatestPicture()  # another camera of that name, with a clock of its own
    studio.buffer = recorder.watch("door", studio.picture)
    studio.feed(rate(15, 4))
    recorder.follow(event("e3", start_s=1.0, latest_s=2.0, peak_s=1.5, end_s=2.0))
    assert studio.row(1).event_id == "e3"
    assert studio.clip("e3")[1][0] == 0.0
