from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stream.messages import Frame, Recorded
from tests import burnt_clock
from tests.conftest import Clock
from tests.studio import END_S, START_S, Studio, event, rate
from tests.waiting import wait_for


@pytest.fixture
def studio(tmp_path: Path, clock: Clock) -> Iterator[Studio]:
    with Studio(tmp_path / "data", clock) as made:
        yield made


def test_says_when_the_clip_begins_late(studio: Studio) -> None:
    one_picture = len(studio.picture.jpeg_of(Frame(burnt_clock.draw(0), 0, 0, -1)))
    recorder = studio.start(memory=70 * one_picture)  # not quite five seconds
    studio.feed(rate(15, 11.5))
    recorder.follow(event(end_s=9.0, start_s=9.0))
    row = studio.row()
    assert row.clip == "e1.mp4"
    _, clocks = studio.clip()
    assert clocks[0] > 6.5
    late = f"{clocks[0] - 6.0:.2f}"
    assert row.note == f"begins {late} s late: earlier pictures were kept no more"


def test_a_clip_whose_pictures_take_too_much_memory_ends_before_them(studio: Studio) -> None:
    one_picture = len(studio.picture.jpeg_of(Frame(burnt_clock.draw(0), 0, 0, -1)))
    turns = 0

    def allowed() -> bool:
        nonlocal turns
        turns += 1
        return True

    studio.allowed = allowed
    recorder = studio.start(memory=100 * one_picture)
    studio.feed(rate(15, 10))
    recorder.follow(event(latest_s=8.5, peak_s=9.1))  # and no news for very long: it may go on
    wait_for(lambda: turns > 10)  # eight of 68 pictures are written in each
    assert studio.buffer is not None
    for second in range(10, 25):
        studio.feed([one for one in rate(15, second + 1) if one > second])
        assert studio.buffer.bytes_kept <= 100 * one_picture
    wait_for(lambda: (studio.folder / "clips" / "e1.mp4").exists())
    assert studio.rows == []
    recorder.follow(event(end_s=8.4, peak_s=9.1))
    assert studio.row() == Recorded(
        "e1", "e1.mp4", "e1.jpg", "cut: more pictures waited than recording.memory allows", 5.0
    )
    _, clocks = studio.clip()
    assert clocks[0] == pytest.approx(START_S - 3, abs=1 / 15)
    assert clocks[-1] == pytest.approx(8.5 + 2 - 1, abs=1 / 15)  # as far as was certain
    assert studio.snapshot() == pytest.approx(9.1, abs=1 / 15)
    assert studio.metrics.totals() == {"clips": 1}


def test_without_memory_for_the_event_itself_its_clip_is_dropped(studio: Studio) -> None:
    one_picture = len(studio.picture.jpeg_of(Frame(burnt_clock.draw(0), 0, 0, -1)))
    recorder = studio.start(memory=100 * one_picture, post_roll=0.0)
    studio.feed(rate(15, 10))
    recorder.follow(event(latest_s=8.5, peak_s=9.1))  # so its end may be as early as its start
    for second in range(10, 25):
        studio.feed([one for one in rate(15, second + 1) if one > second])
    wait_for(lambda: studio.metrics.total("dropped_clips") == 1)
    recorder.follow(event(end_s=24.0))
    assert studio.row() == Recorded(
        "e1",
        "",
        "e1.jpg",
        "clip dropped: more pictures waited than recording.memory allows",
    )
    assert studio.files() == ["snapshots/e1.jpg"]
    assert studio.metrics.totals() == {"dropped_clips": 1}


def test_the_longest_clip_is_cut(studio: Studio) -> None:
    recorder = studio.start(longest=6.0)
    studio.feed(rate(15, 9))
    recorder.follow(event(latest_s=9.0))
    studio.feed([one for one in rate(15, 20) if one > 9])
    recorder.follow(event(latest_s=19.0, peak_s=18.0))
    # It is whole long before its event has ended, of which the best picture is still to come.
    wait_for(lambda: (studio.folder / "clips" / "e1.mp4").exists())
    assert studio.rows == []
    recorder.follow(event(latest_s=19.0, end_s=19.0, peak_s=18.0))
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg", "cut after 6 s", 5.0)
    _, clocks = studio.clip()
    assert clocks[-1] - clocks[0] == pytest.approx(6.0, abs=1 / 15)
    assert studio.snapshot() == 18.0


def test_under_load_pictures_are_missing_and_the_row_says_so(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 9))
    large = np.zeros((2160, 3840, 3), np.uint8)  # many times as long to encode as to show
    for number in range(60):
        time_s = 9.001 + number / 60
        studio.picture.put(Frame(large, time_s, studio.clock(), 1000 + number))
    missing = studio.metrics.total("unrecorded_frames")
    assert missing > 0
    wait_for(lambda: studio.buffer is not None and (studio.buffer.newest_s or 0) > 9.0)
    studio.feed([one for one in rate(15, 14) if one > 10.5])
    recorder.follow(event(end_s=END_S))
    missing = studio.metrics.total("unrecorded_frames")
    assert studio.row() == Recorded(
        "e1", "e1.mp4", "e1.jpg", f"{missing} pictures are missing: the machine was too busy", 5.0
    )


def test_more_clips_at_a_time_than_there_may_be_are_dropped(studio: Studio) -> None:
    recorder = studio.start(pre_roll=0.0)
    studio.feed(rate(15, 12), partial(burnt_clock.draw, width=64, height=48))
    for number in range(20):
        recorder.follow(event(f"e{number}", latest_s=10.0))
    wait_for(lambda: studio.metrics.total("dropped_clips") == 4)
    for number in range(20):
        recorder.follow(event(f"e{number}", end_s=10.0))
    wait_for(lambda: len(studio.rows) == 20)
    assert sum(row.clip != "" for row in studio.rows) == 16
    dropped = {row.note for row in studio.rows if not row.clip}
    assert dropped == {"clip dropped: 16 others were being written"}
