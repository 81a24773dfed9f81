from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from stream.clip_buffer import ClipBuffer
from stream.keeping_config import RecordingConfig
from stream.messages import Event, Frame, Recorded
from stream.metrics import Metrics
from stream.picture import LatestPicture
from stream.recorder import Recorder
from tests import burnt_clock
from tests.conftest import Clock
from tests.waiting import wait_for

FULL = Path("/dev/full")
START_S, END_S = 8.02, 10.47


def rate(fps: float, seconds: float) -> list[float]:
    """Times of pictures, in whole milliseconds so that the burnt-in clock tells them exactly."""
    return [round(1000 * number / fps) / 1000 for number in range(int(seconds * fps) + 1)]


def varying(seconds: float) -> list[float]:
    """Times of a camera that now and then is slow, by chance."""
    gaps = np.random.default_rng(1).choice([0.02, 0.033, 0.05, 0.15, 0.4], 1000)
    times = np.round(np.cumsum(gaps), 3)
    return [float(time_s) for time_s in times if time_s <= seconds]


def event(event_id: str = "e1", **changes: object) -> Event:
    """One from 8.02 s on that is still seen at 10 s."""
    opened = Event(
        id=event_id,
        camera="door",
        label="wave",
        start_s=START_S,
        latest_s=10.0,
        end_s=None,
        detected_s=9.0,
        peak=0.9,
        peak_s=9.1,
        mean=0.8,
    )
    return replace(opened, **changes)  # type: ignore[arg-type]


class Studio:
    """A recorder of one camera that is fed with pictures as they are wanted."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self.metrics = Metrics()
        self.picture = LatestPicture()
        self.rows: list[Recorded] = []
        self.allowed = True
        self.recorder: Recorder | None = None
        self.buffer: ClipBuffer | None = None
        self._index = 0

    def start(self, **settings: float) -> Recorder:
        values = {"pre_roll": 3.0, "post_roll": 2.0, **settings}
        recorder = self.recorder = Recorder(
            self.folder,
            RecordingConfig().model_copy(update=values),
            self.metrics,
            on_recorded=self.rows.append,
            allowed=lambda: self.allowed,
            now=self.clock,
        )
        self.buffer = recorder.watch("door", self.picture)
        recorder.start()
        return recorder

    def feed(
        self, times: list[float], draw: Callable[[float], np.ndarray] = burnt_clock.draw
    ) -> None:
        """Show the camera's pictures, not faster than they become JPEGs."""
        for place, time_s in enumerate(times):
            self.picture.put(Frame(draw(time_s), time_s, self.clock(), self._index))
            self._index += 1
            if place % 6 == 0 or time_s == times[-1]:
                wait_for(partial(self._has_come, time_s))

    def row(self, number: int = 0) -> Recorded:
        wait_for(lambda: len(self.rows) > number)
        return self.rows[number]

    def stop(self) -> None:
        assert self.recorder is not None
        self.recorder.tell_stop()
        assert self.recorder.join(20)

    def files(self) -> list[str]:
        found = (file for file in self.folder.rglob("*") if not file.is_dir())
        return sorted(str(file.relative_to(self.folder)) for file in found)

    def clip(self, name: str = "e1") -> tuple[list[float], list[float]]:
        """Of a clip: when its pictures are shown, and the clocks in them."""
        with av.open(str(self.folder / "clips" / f"{name}.mp4")) as container:
            shown = [
                (float(frame.time), burnt_clock.read(frame.to_ndarray(format="rgb24")))
                for frame in container.decode(video=0)
            ]
        return [at for at, _ in shown], [clock for _, clock in shown]

    def snapshot(self, name: str = "e1") -> float:
        """The clock in a snapshot."""
        jpeg = cv2.imread(str(self.folder / "snapshots" / f"{name}.jpg"))
        assert jpeg is not None
        return burnt_clock.read(jpeg)

    def _has_come(self, time_s: float) -> bool:
        assert self.buffer is not None
        return self.buffer.newest_s == time_s


@pytest.fixture
def studio(tmp_path: Path, clock: Clock) -> Iterator[Studio]:
    made = Studio(tmp_path / "data", clock)
    yield made
    if made.recorder is not None:
        made.recorder.tell_stop()
        assert made.recorder.join(20)


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
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg")
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


def test_is_written_before_the_event_ends_but_not_past_what_is_certain(studio: Studio) -> None:
    recorder = studio.start(post_roll=1.5)
    studio.feed(rate(15, 14))
    recorder.follow(event(latest_s=12.0))
    part = studio.folder / "clips" / "e1.mp4.part"
    wait_for(lambda: part.exists())
    # Its end is set back by 0.9 s.
    recorder.follow(event(latest_s=12.0, end_s=11.1))
    assert studio.row().note == ""
    _, clocks = studio.clip()
    assert clocks[-1] == pytest.approx(12.6, abs=1 / 15)


def test_an_event_of_a_zone_is_recorded_from_its_camera(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 13))
    recorder.follow(event(camera="door/gate", end_s=END_S))
    recorder.follow(event("e2", camera="garden", end_s=END_S))  # isn't recorded
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg")
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
    assert studio.row().note == ""
    _, clocks = studio.clip()
    assert clocks[0] == 7.0


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


def test_a_clip_whose_pictures_take_too_much_memory_is_dropped(studio: Studio) -> None:
    one_picture = len(studio.picture.jpeg_of(Frame(burnt_clock.draw(0), 0, 0, -1)))
    recorder = studio.start(memory=100 * one_picture)
    studio.feed(rate(15, 10))
    recorder.follow(event(latest_s=8.5, peak_s=9.1))  # and no news for very long
    assert studio.buffer is not None
    for second in range(10, 25):
        studio.feed([one for one in rate(15, second + 1) if one > second])
        assert studio.buffer.bytes_kept <= 100 * one_picture
    wait_for(lambda: studio.metrics.total("dropped_clips") == 1)
    recorder.follow(event(end_s=24.0))
    assert studio.row() == Recorded(
        "e1",
        "",
        "e1.jpg",
        "clip dropped: more pictures waited than recording.memory allows",
    )
    assert studio.files() == ["snapshots/e1.jpg"]
    assert studio.snapshot() == pytest.approx(9.1, abs=1 / 15)
    assert studio.metrics.total("dropped_clips") == 1


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
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg")
    shown, clocks = studio.clip()
    assert len(clocks) == pytest.approx(15 * 64, abs=2)
    assert clocks[-1] == pytest.approx(69.0, abs=1 / 15)
    assert shown[-1] == pytest.approx(64.0, abs=2 / 15)
    assert studio.snapshot() == pytest.approx(9.1, abs=1 / 15)


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
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg", "cut after 6 s")
    _, clocks = studio.clip()
    assert clocks[-1] - clocks[0] == pytest.approx(6.0, abs=1 / 15)
    assert studio.snapshot() == 18.0


def test_a_camera_that_stops_ends_the_clip(studio: Studio, clock: Clock) -> None:
    recorder = studio.start(post_roll=10.0)
    studio.feed(rate(15, 11))
    recorder.follow(event(end_s=END_S))
    wait_for(lambda: (studio.folder / "clips" / "e1.mp4.part").exists())
    assert studio.rows == []
    clock.seconds += 11.5  # the last picture would have been due after 9.5 s
    assert studio.row() == Recorded("e1", "e1.mp4", "e1.jpg")
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
    assert rows["e2"] == Recorded("e2", "e2.mp4", "", f"no snapshot: {full}")
    assert studio.files() == ["clips/e2.mp4", "snapshots/e1.jpg"]
    assert studio.metrics.totals("door") == {"clips": 1, "dropped_clips": 1}


def test_nothing_is_begun_while_the_disk_is_nearly_full(studio: Studio) -> None:
    recorder = studio.start()
    studio.feed(rate(15, 13))
    studio.allowed = False
    recorder.follow(event(end_s=END_S))
    assert studio.row() == Recorded("e1", "", "", "no clip: disk nearly full")
    assert studio.files() == []
    studio.allowed = True
    recorder.follow(event("e2", end_s=END_S))
    assert studio.row(1).clip == "e2.mp4"


def test_what_a_killed_run_left_is_cleared_away(studio: Studio) -> None:
    for name in ("clips/old.mp4.part", "snapshots/old.jpg.part", "clips/whole.mp4"):
        (studio.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (studio.folder / name).write_bytes(b"half")
    studio.start()
    assert studio.files() == ["clips/whole.mp4"]


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
        "e1", "e1.mp4", "e1.jpg", f"{missing} pictures are missing: the machine was too busy"
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


def test_can_be_stopped_before_it_was_started(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, RecordingConfig(), Metrics(), on_recorded=lambda _: None)
    recorder.watch("door", LatestPicture())
    recorder.tell_stop()
    assert recorder.join(0.1)
