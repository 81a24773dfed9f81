"""Guests at a real scheduler, with a worker that the test plays."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from stream.config.events import EventsConfig
from stream.messages import Clip, ClipSpec, Scores
from stream.runtime.metrics import Metrics
from stream.sessions.manager import Guests, GuestsFullError, NotReadyError
from stream.sessions.session import Guest
from stream.workers.transport import WorkerEnd
from tests.conftest import Clock
from tests.desk import Desk, Watched, filled, scores_for
from tests.waiting import wait_for

POLICY = EventsConfig(minimum=0, smoothing=0, merge_gap=0)
PICTURE = np.zeros((12, 16, 3), np.uint8)


class House:
    """A desk, and guests at it."""

    def __init__(self, folder: Path, spec: ClipSpec) -> None:
        self.spec = spec
        self.cameras = {"door": Watched(None)}
        self.desk = Desk(folder, self.cameras)
        self.guests = Guests(
            3,
            POLICY,
            self.desk.metrics,
            serve=lambda name, guest: self.desk.scheduler.add(name, guest, guest=True),
            dismiss=self.desk.scheduler.remove,
            on_frame=self.desk.link.wake,
        )
        self.desk.hear = self.guests.take
        self.guests.expect(spec, 5.0)
        self.desk.thread.start()


@pytest.fixture
def house(tmp_path: Path, spec: ClipSpec) -> Iterator[House]:
    house = House(tmp_path, spec)
    yield house
    house.desk.close()


def show(guest: Guest, from_s: float, until_s: float, *, colour: int = 0) -> None:
    for time_s in np.arange(from_s, until_s, 0.04):
        guest.put(np.full((12, 16, 3), colour, np.uint8), float(time_s))


def by_colour(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
    """The label whose number the pictures are filled with, for sure."""
    return tuple(
        Scores(clip.number, np.eye(3, dtype=np.float32)[clip.frames[-1, 0, 0, 0]], 0.01)
        for clip in clips
    )


def label(guest: Guest) -> str:
    prediction = guest.view().prediction
    return prediction.top(1)[0][0] if prediction is not None else ""


def test_each_guest_is_told_of_its_own_pictures_and_events(house: House) -> None:
    with (
        WorkerEnd(house.desk.link.endpoint, house.spec) as worker,
        house.guests.admit() as one,
        house.guests.admit() as two,
    ):
        assert worker.ask(room=4, timeout_s=0.1) == ()
        assert one.waiting == pytest.approx(0.3)
        show(one, 100.0, 101.0, colour=1)  # their clocks have nothing to do with each other
        show(two, 3.0, 4.0, colour=2)
        assert one.waiting == 0.0
        for _ in range(2):  # one at a time
            clips = worker.ask(room=4, timeout_s=10)
            assert len(clips) == 1
            worker.answer(by_colour(clips))
        wait_for(lambda: label(one) == "jump" and label(two) == "run")
        assert [event.label for event in one.view().open_events] == ["jump"]
        assert [event.label for event in two.view().open_events] == ["run"]
    assert house.desk.predictions == []  # nobody else hears of it
    counts = house.desk.metrics.counts()
    assert counts["windows", "guest"] == 2
    assert {whose for _, whose in counts} <= {"", "guest"}


def test_cameras_go_first_and_one_guest_goes_along(house: House) -> None:
    house.cameras["door"].ring = filled(house.spec, 1.0)
    with house.guests.admit() as one, house.guests.admit() as two:
        show(one, 0.0, 1.0)
        show(two, 0.0, 1.0)
        with WorkerEnd(house.desk.link.endpoint, house.spec) as worker:
            names = [clip.camera for clip in worker.ask(room=4, timeout_s=10)]
    assert names == ["door", one.name]


def test_guests_are_not_forgotten_where_cameras_leave_nothing(house: House) -> None:
    with house.guests.admit() as one, WorkerEnd(house.desk.link.endpoint, house.spec) as worker:
        assert worker.ask(room=1, timeout_s=0.1) == ()
        show(one, 0.0, 1.0)
        names = []
        for number in range(8):
            house.cameras["door"].ring = filled(house.spec, 1.3 + number)
            (clip,) = worker.ask(room=1, timeout_s=10)
            names.append(clip.camera)
            show(one, 1.0 + number, 2.0 + number)
            worker.answer(scores_for((clip,)))
    assert 1 <= names.count(one.name) <= 2
    assert names.count("door") >= 6


def test_a_guest_beyond_the_limit_is_refused_until_another_leaves(house: House) -> None:
    with ExitStack() as here:
        first = here.enter_context(ExitStack())
        first.enter_context(house.guests.admit())
        for _ in range(2):
            here.enter_context(house.guests.admit())
        with pytest.raises(GuestsFullError, match="3 visitors are here"), house.guests.admit():
            pass
        first.close()
        with house.guests.admit():
            assert len(house.guests) == 3
        house.guests.heed(0, POLICY)
        with pytest.raises(GuestsFullError, match="turned off"), house.guests.admit():
            pass
    assert len(house.guests) == 0


def test_nobody_is_admitted_before_the_model_is_known_nor_at_the_end() -> None:
    guests = Guests(
        1,
        POLICY,
        Metrics(),
        serve=lambda name, guest: None,
        dismiss=lambda name: None,
        on_frame=lambda: None,
    )
    with pytest.raises(NotReadyError, match="not ready yet"), guests.admit():
        pass
    guests.tell_stop()
    with pytest.raises(NotReadyError, match="ending"), guests.admit():
        pass


def test_an_answer_for_a_guest_that_left_is_dropped(house: House) -> None:
    with WorkerEnd(house.desk.link.endpoint, house.spec) as worker:
        assert worker.ask(room=1, timeout_s=0.1) == ()
        with house.guests.admit() as guest:
            show(guest, 0.0, 1.0)
            clips = worker.ask(room=1, timeout_s=10)
        worker.answer(by_colour(clips))
        wait_for(lambda: house.desk.metrics.total("unneeded_answers") == 1)
    assert house.desk.metrics.total("late_answers") == 0
    assert house.desk.metrics.total("lost_windows") == 0
    guest.put(PICTURE, 2.0)  # of no use, and no trouble
    assert guest.view().prediction is None


def test_a_guest_that_leaves_gives_its_memory_back(house: House) -> None:
    threads = threading.active_count()
    left: list[weakref.ref] = []
    for _ in range(50):
        with house.guests.admit() as guest:
            show(guest, 0.0, 0.2)
            left += (weakref.ref(guest), weakref.ref(guest.ring))
    del guest
    gc.collect()
    assert [one for one in left if one() is not None] == []  # neither does anybody know of them
    assert threading.active_count() == threads


def test_no_window_spans_a_break_of_the_visitors_clock(spec: ClipSpec, clock: Clock) -> None:
    guest = alone(spec, clock)
    show(guest, 10.0, 11.0)
    assert guest.waiting == 0.0
    for time_s in (13.0, 2.0):  # on and back: another part of a file
        clock.seconds += 1
        guest.put(PICTURE, time_s)
        assert guest.waiting == pytest.approx(0.3)
        assert guest.ring is not None
        assert guest.ring.newest_s == time_s
        assert not guest.ring.covers(spec.times(time_s))
    guest.put(PICTURE, 1.9)  # a little late: only this one is dropped
    assert guest.ring.newest_s == 2.0


def test_a_flood_of_pictures_is_thinned(spec: ClipSpec, clock: Clock) -> None:
    metrics = Metrics()
    guest = alone(spec, clock, metrics)
    for number in range(1000):
        guest.put(PICTURE, number / 1000)
    totals = metrics.totals("guest")
    assert totals["frames"] == 1000
    assert totals["unneeded_frames"] >= 950


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_time_that_is_none_is_refused(spec: ClipSpec, clock: Clock, time_s: float) -> None:
    with pytest.raises(ValueError, match="time must be seconds"):
        alone(spec, clock).put(PICTURE, time_s)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
    ids=["grey", "float", "empty"],
)
def test_what_is_no_picture_is_refused(spec: ClipSpec, clock: Clock, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture must be"):
        alone(spec, clock).put(pixels, 1.0)


def alone(spec: ClipSpec, clock: Clock, metrics: Metrics | None = None) -> Guest:
    return Guest(
        "guest:1",
        spec,
        POLICY,
        metrics or Metrics(),
        gap_s=5.0,
        on_frame=lambda: None,
        now=clock,
    )
