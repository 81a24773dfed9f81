from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.messages import Frame, Recorded
from tests import burnt_clock
from tests.conftest import Clock
from tests.studio import END_S, START_S, Studio, event, rate
from tests.waiting import wait_for


def varying(seconds: float) -> list[float]:
    """Times of a camera that now and then is slow, by chance."""
    gaps = np.random.default_rng(1).choice([0.02, 0.033, 0.05, 0.15, 0.4], 1000)
    times = np.round(np.cumsum(gaps), 3)
    return [float(time_s) for time_s in times if time_s <= seconds]


@pytest.fixture
def studio(tmp_path: Path, clock: Clock) -> Iterator[Studio]:
    with Studio(tmp_path / "data", clock) as made:
        yield made


@pytest.mark.parametrize(
    "times", [rate(15, 14), rate(30, 14), varying(14)], ids=["15 fps", "30 fps", "varying"]
)
def test_a_clip_is_of_the_event_with_what_was_before_and_after(
    studio: Studio, times: list[float]
) -> None:
    recorder = studio.start()
    studio.feed([time_s for time_s in times if time_s <= 9.4])
    recorder.follow(event(latest_s=9.0))
    studio.feed([time_s for time_s in times if 9.4 < time_s <= 11.2])
    recorder.follow(event(latest_s=10.5, peak=0.95, peak_s=9.77))
    recorder.follow(event(end_s=END_S, latest_s=END_S, peak=0.95, peak_s=9.77))
    studio.feed([time_s for time_s in times if time_s > 11.2])
    begins_s = next(one for one in times if one >= START_S - 3 - 0.02)
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg", clip_start_s=begins_s)
    assert studio.files() == ["clips/e1.mp4", "snapshots/e1.jpg"]

    shown, clocks = studio.clip()
    wanted = [one for one in times if START_S - 3 - 0.02 <= one <= END_S + 2]
    assert clocks == wanted  # each picture once, at its own time
    assert shown == pytest.approx([one - wanted[0] for one in wanted], abs=1e-4)
    before = max(one for one in times if one < wanted[0])
    after = min(one for one in times if one > wanted[-1])
    assert before < START_S - 3 <= wanted[0] + 0.02  # within one frame
    assert wanted[-1] <= END_S + 2 < after
    nearest = min(times, key=lambda one: abs(one - 9.77))
    assert studio.snapshot() == nearest
    assert studio.metrics.totals() == {"clips": 1}


@pytest.mark.parametrize(("set_back_s", "end_s"), [(1.0, 11.1), (2.5, 9.6)])
def test_is_written_before_the_event_ends_but_not_past_what_is_certain(
    studio: Studio, set_back_s: float, end_s: float
) -> None:
    recorder = studio.start(post_roll=1.5, set_back_s=set_back_s)
    studio.feed(rate(15, 14))
    recorder.follow(event(latest_s=12.0))
    part = studio.folder / "clips" / "e1.mp4.part"
    wait_for(lambda: part.exists())
    # Its end is set back by 0.9 s or 2.4 s.
    recorder.follow(event(latest_s=12.0, end_s=end_s))
    assert studio.row().note == ""
    _, clocks = studio.clip()
    assert clocks[-1] == pytest.approx(end_s + 1.5, abs=1 / 15)


def test_an_event_of_a_zone_is_recorded_from_its_camera(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 13))
    recorder.follow(event(camera="door/gate", end_s=END_S))
    recorder.follow(event("e2", camera="garden", end_s=END_S))  # isn't recorded
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg", clip_start_s=5.0)
    studio.stop()
    assert len(studio.rows) == 1


def test_events_that_overlap_have_a_clip_each(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 9))
    recorder.follow(event(latest_s=9.0))
    recorder.follow(event("e2", start_s=8.5, latest_s=9.0))
    studio.feed([one for one in rate(15, 15) if one > 9])
    recorder.follow(event(end_s=10.0))
    recorder.follow(event("e2", start_s=8.5, end_s=12.0))
    assert {studio.row(0).clip, studio.row(1).clip} == {"e1.mp4", "e2.mp4"}
    for name, first, last in (("e1", START_S - 3, 12.0), ("e2", 5.5, 14.0)):
        _, clocks = studio.clip(name)
        assert clocks[0] == pytest.approx(first, abs=1 / 15)
        assert clocks[-1] == pytest.approx(last, abs=1 / 15)


def test_nothing_is_amiss_where_the_camera_had_just_begun(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed([one for one in rate(15, 13) if one >= 7])
    recorder.follow(event(end_s=END_S))
    assert (studio.row().note, studio.row().clip_start_s) == ("", 7.0)
    _, clocks = studio.clip()
    assert clocks[0] == 7.0


def test_a_long_event_is_written_as_it_goes_on(studio: Studio) -> None:
    """It takes no more memory than the buffer, and its peak may be far back."""
    one_picture = len(studio.picture.jpeg_of(Frame(burnt_clock.draw(0), 0, 0, -1)))
    recorder = studio.start(memory=350 * one_picture)
    studio.feed(rate(15, 9))
    assert studio.buffer is not None
    for second in range(9, 69):
        recorder.follow(event(latest_s=float(second)))
        studio.feed([one for one in rate(15, second + 1) if one > second])
    recorder.follow(event(latest_s=67.0, end_s=67.0))
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg", clip_start_s=5.0)
    shown, clocks = studio.clip()
    assert len(clocks) == pytest.approx(15 * 64, abs=2)
    assert clocks[-1] == pytest.approx(69.0, abs=1 / 15)
    assert shown[-1] == pytest.approx(64.0, abs=2 / 15)
    assert studio.snapshot() == pytest.approx(9.1, abs=1 / 15)


def test_a_camera_that_stops_ends_the_clip(studio: Studio, clock: Clock) -> None:
    recorder = studio.start(post_roll=10.0)
    studio.feed(rate(15, 11))
    recorder.follow(event(end_s=END_S))
    wait_for(lambda: (studio.folder / "clips" / "e1.mp4.part").exists())
    assert studio.rows == []
    clock.seconds += 11.5  # the last picture would have been due after 9.5 s
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg", clip_start_s=5.0)
    _, clocks = studio.clip()
    assert clocks[-1] == 11.0


def test_an_event_without_pictures_has_no_clip(studio: Studio, clock: Clock) -> None:
    recorder = studio.start()
    recorder.follow(event(end_s=END_S))
    clock.seconds += 3
    assert studio.row() == Recorded(
        "e1", "", "", "clip dropped: the camera brought no pictures of it"
    )
    studio.feed(rate(15, 4))
    recorder.follow(event("e2", end_s=END_S))
    clock.seconds += 60
    row = studio.row(1)
    assert (row.clip, row.note) == ("", "clip dropped: the camera brought no pictures of it")
