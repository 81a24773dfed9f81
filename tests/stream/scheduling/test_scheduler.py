from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream.messages import ClipSpec
from stream.regions.frame_ring import FrameRing
from stream.workers.transport import TransportError, WorkerEnd
from tests.desk import Desk, Watched, filled, scores_for


@pytest.fixture
def cameras(spec: ClipSpec) -> dict[str, Watched]:
    return {"a": Watched(filled(spec, 1.0)), "b": Watched(filled(spec, 1.2))}


@pytest.fixture
def desk(tmp_path: Path, cameras: dict[str, Watched]) -> Iterator[Desk]:
    desk = Desk(tmp_path, cameras)
    desk.thread.start()
    yield desk
    desk.close()


def test_a_worker_that_asks_gets_the_freshest_window_of_each_camera(
    desk: Desk, spec: ClipSpec
) -> None:
    with WorkerEnd(desk.link.endpoint, spec) as worker:
        clips = worker.ask(room=8, timeout_s=10)
        assert sorted(clip.camera for clip in clips) == ["a", "b"]
        for clip in clips:
            assert clip.frames.shape == (4, 8, 8, 3)
        by_camera = {clip.camera: clip for clip in clips}
        assert by_camera["a"].times[-1] == pytest.approx(0.75, abs=0.02)
        assert by_camera["b"].times[-1] == pytest.approx(1.0, abs=0.02)
        worker.answer(scores_for(clips))
        desk.wait_for("predictions", 2)
    assert desk.metrics.total("windows") == 2
    assert {p.camera for p in desk.predictions} == {"a", "b"}
    assert desk.predictions[0].newest_at == 7.0
    assert desk.specs == [spec]


def test_no_more_clips_than_the_worker_has_room_for(desk: Desk, spec: ClipSpec) -> None:
    with WorkerEnd(desk.link.endpoint, spec) as worker:
        first = worker.ask(room=1, timeout_s=10)
        worker.answer(scores_for(first))
        second = worker.ask(room=1, timeout_s=10)
    assert [clip.camera for clip in (*first, *second)] == ["a", "b"]


def test_windows_wait_for_others_until_all_are_there_or_time_is_up(
    tmp_path: Path, cameras: dict[str, Watched], spec: ClipSpec
) -> None:
    cameras["c"] = Watched(FrameRing(spec))  # has not seen enough yet
    desk = Desk(tmp_path, cameras, batch_wait_s=2.0)
    desk.thread.start()
    try:
        with WorkerEnd(desk.link.endpoint, spec) as worker:
            assert worker.ask(room=8, timeout_s=0.2) == ()
            desk.ahead_s = 2.0
            desk.link.wake()
            assert len(worker.ask(room=8, timeout_s=10)) == 2
        for camera in cameras.values():
            camera.ring = filled(spec, 3.0)
        with WorkerEnd(desk.link.endpoint, spec) as worker:
            assert len(worker.ask(room=8, timeout_s=1)) == 3  # no more can come: no more waiting
        for camera in cameras.values():
            camera.ring = filled(spec, 6.0)
        with WorkerEnd(desk.link.endpoint, spec) as worker:
            assert len(worker.ask(room=2, timeout_s=1)) == 2  # nor where the worker is full
    finally:
        desk.close()


def test_windows_that_waited_in_vain_leave_no_trace(
    tmp_path: Path, cameras: dict[str, Watched], spec: ClipSpec
) -> None:
    desk = Desk(tmp_path, {"a": cameras["a"], "c": Watched(FrameRing(spec))}, batch_wait_s=1000.0)
    desk.thread.start()
    try:
        with WorkerEnd(desk.link.endpoint, spec) as worker:
            assert worker.ask(room=8, timeout_s=0.2) == ()
            assert desk.scheduler._waits_s() < math.inf
            cameras["a"].ring = FrameRing(spec)  # the camera broke off
            desk.link.wake()
            assert worker.ask(room=8, timeout_s=0.2) == ()
            assert desk.scheduler._waits_s() == math.inf  # or its thread would never rest
    finally:
        desk.close()


def test_workers_that_ask_share_what_is_due(
    desk: Desk, spec: ClipSpec, cameras: dict[str, Watched]
) -> None:
    rings = {name: camera.ring for name, camera in cameras.items()}
    for camera in cameras.values():
        camera.ring = None
    with (
        WorkerEnd(desk.link.endpoint, spec, name="one", devices=2) as one,
        WorkerEnd(desk.link.endpoint, spec, name="two") as two,
    ):
        assert one.ask(room=8, timeout_s=0.2) == two.ask(room=8, timeout_s=0.2) == ()
        for name, camera in cameras.items():
            camera.ring = rings[name]
        desk.link.wake()
        each = one.ask(room=8, timeout_s=10), two.ask(room=8, timeout_s=10)
    assert sorted(clip.camera for (clip,) in each) == ["a", "b"]
    assert sorted(desk.hellos) == [(b"one", 2), (b"two", 1)]


def test_windows_without_motion_are_spared_and_counted(
    desk: Desk, spec: ClipSpec, cameras: dict[str, Watched]
) -> None:
    cameras["a"].still = True
    with WorkerEnd(desk.link.endpoint, spec) as worker:
        assert [clip.camera for clip in worker.ask(room=8, timeout_s=10)] == ["b"]
    assert desk.metrics.totals("a") == {"still_windows": 1}
    assert (cameras["a"].looks, cameras["b"].looks) == ([], [1.0])


def test_a_window_is_given_once(desk: Desk, spec: ClipSpec) -> None:
    with WorkerEnd(desk.link.endpoint, spec) as worker:
        assert len(worker.ask(room=8, timeout_s=10)) == 2
        assert worker.ask(room=8, timeout_s=0.1) == ()


def test_a_new_frame_wakes_the_worker_that_waits(
    desk: Desk, spec: ClipSpec, cameras: dict[str, Watched]
) -> None:
    with WorkerEnd(desk.link.endpoint, spec) as worker:
        worker.ask(room=8, timeout_s=10)
        ring = cameras["a"].ring
        assert ring is not None
        ring.append(np.zeros((8, 8, 3), np.uint8), 1.0, 8.0)
        desk.link.wake()
        clips = worker.ask(room=8, timeout_s=10)
    assert [(clip.camera, round(float(clip.times[-1]), 2)) for clip in clips] == [("a", 1.0)]


def test_clips_of_a_worker_that_never_answers_are_counted_as_lost(
    desk: Desk, spec: ClipSpec
) -> None:
    with WorkerEnd(desk.link.endpoint, spec, name="silent") as silent:
        clips = silent.ask(room=8, timeout_s=10)
        desk.ahead_s = 31.0
        desk.link.wake()
        desk.wait_for("silent")
        # After its deadline an answer is late: it is counted, and nothing else.
        silent.answer(scores_for(clips))
        assert silent.ask(room=8, timeout_s=0.2) == ()
    assert desk.metrics.totals() == {"late_answers": 2, "lost_windows": 2}
    assert desk.silent == [b"silent"]
    assert desk.predictions == []


def test_a_worker_that_was_started_again_loses_only_what_it_had(
    desk: Desk, spec: ClipSpec, cameras: dict[str, Watched]
) -> None:
    with WorkerEnd(desk.link.endpoint, spec, name="local") as first:
        assert len(first.ask(room=8, timeout_s=10)) == 2
    ring = cameras["a"].ring
    assert ring is not None
    ring.append(np.zeros((8, 8, 3), np.uint8), 1.0, 8.0)
    with WorkerEnd(desk.link.endpoint, spec, name="local") as second:
        clips = second.ask(room=8, timeout_s=10)
        second.answer(scores_for(clips))
        desk.wait_for("predictions")
    assert desk.metrics.total("lost_windows") == 2


def test_scores_of_the_wrong_length_are_refused(desk: Desk, spec: ClipSpec) -> None:
    with WorkerEnd(desk.link.endpoint, spec) as worker:
        clips = worker.ask(room=1, timeout_s=10)
        worker.answer(scores_for(clips, count=5))
        worker.answer(scores_for(clips, count=3))
        desk.wait_for("predictions")
    assert desk.metrics.total("malformed_messages") == 1


def test_a_worker_with_another_model_is_sent_away(desk: Desk, spec: ClipSpec) -> None:
    other = replace(spec, model="other")
    with (
        WorkerEnd(desk.link.endpoint, spec) as first,
        WorkerEnd(desk.link.endpoint, other) as second,
    ):
        assert first.ask(room=1, timeout_s=10)
        with pytest.raises(TransportError, match="uses another model, small"):
            second.ask(room=1, timeout_s=10)
    assert desk.specs == [spec]


def test_a_worker_that_cannot_work_does_not_disturb_those_that_can(
    desk: Desk, spec: ClipSpec
) -> None:
    with WorkerEnd(desk.link.endpoint, spec) as good, WorkerEnd(desk.link.endpoint, None) as bad:
        clips = good.ask(room=1, timeout_s=10)
        bad.fail("no such model")
        good.answer(scores_for(clips))
        desk.wait_for("predictions")
        good.ask(room=1, timeout_s=10)
    assert desk.failures == []


def test_a_worker_that_cannot_work_says_why(desk: Desk) -> None:
    with WorkerEnd(desk.link.endpoint, None) as worker:
        worker.fail("weights are damaged")
        desk.wait_for("failures")
    assert desk.failures == ["weights are damaged"]


def test_it_is_idle_when_all_that_was_due_is_answered(desk: Desk, spec: ClipSpec) -> None:
    with WorkerEnd(desk.link.endpoint, spec) as worker:
        clips = worker.ask(room=8, timeout_s=10)
        assert not desk.scheduler.idle
        worker.answer(scores_for(clips))
        desk.wait_for("predictions", 2)
    assert desk.scheduler.idle
