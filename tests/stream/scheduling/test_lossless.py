"""A scheduler whose pace is set by the worker: every window counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.messages import ClipSpec
from stream.regions.frame_ring import FrameRing
from stream.workers.transport import WorkerEnd
from tests.desk import Desk, Watched, feed, scores_for


@pytest.fixture
def film(spec: ClipSpec) -> dict[str, Watched]:
    return {"film": Watched(FrameRing(spec))}


@pytest.fixture
def patient(tmp_path: Path, film: dict[str, Watched]) -> Iterator[Desk]:
    desk = Desk(tmp_path, film, every_window=True)
    desk.thread.start()
    yield desk
    desk.close()


def test_where_every_window_counts_none_is_passed_over(
    patient: Desk, film: dict[str, Watched], spec: ClipSpec
) -> None:
    with WorkerEnd(patient.link.endpoint, spec) as worker:
        assert worker.ask(room=8, timeout_s=0.5) == ()
        reader = feed(patient, film["film"].ring, 60.0)
        for number in range(1, 239):  # all that end from 0.5 s to 59.75 s
            clips = worker.ask(room=8, timeout_s=5)
            assert len(clips) == 1  # one of each stream at a time, so that they stay in order
            worker.answer(scores_for(clips))
            patient.wait_for("predictions", number)
        reader.join(5)
    ends = [prediction.end_s for prediction in patient.predictions]
    assert np.allclose(np.diff(ends), 0.25, atol=0.05)
    assert patient.metrics.total("skipped_windows") == 0


def test_where_every_window_counts_a_lost_one_is_sent_again(
    patient: Desk, film: dict[str, Watched], spec: ClipSpec
) -> None:
    with WorkerEnd(patient.link.endpoint, spec, name="one") as worker:
        assert worker.ask(room=1, timeout_s=0.5) == ()  # from now on it is known what is wanted
        reader = feed(patient, film["film"].ring, 2.0)
        (taken,) = worker.ask(room=1, timeout_s=10)
    with WorkerEnd(patient.link.endpoint, spec, name="one") as worker:  # it died, and is back
        (again,) = worker.ask(room=1, timeout_s=10)
        assert np.array_equal(again.times, taken.times)
        worker.answer(scores_for((again,)))
        for number in range(1, 6):  # the others, that end from 0.75 s to 1.75 s
            patient.wait_for("predictions", number)
            worker.answer(scores_for(worker.ask(room=1, timeout_s=5)))
        patient.wait_for("predictions", 6)
        reader.join(5)
    ends = [prediction.end_s for prediction in patient.predictions]
    assert np.allclose(np.diff(ends), 0.25, atol=0.05)
    assert patient.metrics.total("lost_windows") == 0


def test_lost_windows_of_many_streams_stay_in_order(tmp_path: Path, spec: ClipSpec) -> None:
    films = {name: Watched(FrameRing(spec)) for name in ("a", "b")}
    desk = Desk(tmp_path, films, every_window=True)
    desk.thread.start()
    try:
        with WorkerEnd(desk.link.endpoint, spec, name="one") as one:
            assert one.ask(room=1, timeout_s=0.5) == ()
            readers = [feed(desk, film.ring, 3.0, name=name) for name, film in films.items()]
            with WorkerEnd(desk.link.endpoint, spec, name="two") as two:
                taken = [*one.ask(room=4, timeout_s=10), *two.ask(room=4, timeout_s=10)]
        assert sorted(clip.camera for clip in taken) == ["a", "b"]
        # Both died; the first is back, then the other.
        with (
            WorkerEnd(desk.link.endpoint, spec, name="one") as one,
            WorkerEnd(desk.link.endpoint, spec, name="two") as two,
        ):
            count = 0
            while count < 20:  # of each those that end from 0.5 s to 2.75 s
                for worker in (one, two):
                    clips = worker.ask(room=4, timeout_s=0.2)
                    worker.answer(scores_for(clips))
                    count += len(clips)
        for reader in readers:
            reader.join(5)
        desk.wait_for("predictions", 20)
    finally:
        desk.close()
    for name in films:
        ends = [one.end_s for one in desk.predictions if one.camera == name]
        assert len(ends) == 10
        assert np.allclose(np.diff(ends), 0.25, atol=0.05)
    assert desk.metrics.total("resent_windows") == 2


def test_a_window_that_no_worker_ever_answers_is_a_failure(
    patient: Desk, film: dict[str, Watched], spec: ClipSpec
) -> None:
    with WorkerEnd(patient.link.endpoint, spec, name="one") as worker:
        assert worker.ask(room=1, timeout_s=0.5) == ()
        reader = feed(patient, film["film"].ring, 1.0)
    for _ in range(3):
        with WorkerEnd(patient.link.endpoint, spec, name="one") as worker:
            assert len(worker.ask(room=1, timeout_s=10)) == 1
    with WorkerEnd(patient.link.endpoint, spec, name="one") as worker:
        worker.ask(room=1, timeout_s=0.5)
        patient.wait_for("failures")
    assert "a window of film was not scored in 3 tries" in patient.failures[0]
    patient.stop.set()
    reader.join(5)


def test_whoever_takes_a_prediction_may_ask_the_scheduler(
    tmp_path: Path, film: dict[str, Watched], spec: ClipSpec
) -> None:
    desk = Desk(tmp_path, film, every_window=True)
    asked: list[bool] = []
    desk.on_prediction = lambda: asked.append(desk.scheduler.idle_in(["film"]))
    desk.thread.start()
    try:
        with WorkerEnd(desk.link.endpoint, spec) as worker:
            assert worker.ask(room=1, timeout_s=0.5) == ()
            reader = feed(desk, film["film"].ring, 0.6)
            worker.answer(scores_for(worker.ask(room=1, timeout_s=10)))
            desk.wait_for("predictions")
            reader.join(5)
    finally:
        desk.close()
    assert asked == [False]  # it is not passed on yet
