from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream.messages import ClipSpec
from stream.regions.frame_ring import FrameRing
from stream.workers.transport import TransportError, WorkerClient
from tests.desk import ClipSource, SchedulerHarness, filled, scores_for


@pytest.fixture
def cameras(spec: ClipSpec) -> dict[str, ClipSource]:
    return {"a": ClipSource(filled(spec, 1.0)), "b": ClipSource(filled(spec, 1.2))}


@pytest.fixture
def harness(tmp_path: Path, cameras: dict[str, ClipSource]) -> Iterator[SchedulerHarness]:
    harness = SchedulerHarness(tmp_path, cameras)
    harness.scheduler.start()
    yield harness
    harness.close()


def test_ready_worker_gets_the_newest_window_of_each_camera(
    harness: SchedulerHarness, spec: ClipSpec
) -> None:
    with WorkerClient(harness.socket.endpoint, spec) as worker:
        clips = worker.request_clips(capacity=8, timeout_s=60)
        assert sorted(clip.camera for clip in clips) == ["a", "b"]
        for clip in clips:
            assert clip.frames.shape == (4, 8, 8, 3)
        by_camera = {clip.camera: clip for clip in clips}
        assert by_camera["a"].times[-1] == pytest.approx(0.75, abs=0.02)
        assert by_camera["b"].times[-1] == pytest.approx(1.0, abs=0.02)
        worker.send_result(scores_for(clips))
        harness.wait_for("predictions", 2)
    assert harness.metrics.total("windows") == 2
    assert {p.camera for p in harness.predictions} == {"a", "b"}
    assert harness.predictions[0].newest_at == 7.0
    assert harness.specs == [spec]


def test_crash_is_counted(harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def receive() -> None:
        raise RuntimeError("no socket")

    monkeypatch.setattr(harness.socket, "receive", receive)
    assert harness.scheduler.join(60)
    assert harness.metrics.totals() == {"thread_crashes": 1}


def test_batch_does_not_exceed_the_capacity_of_the_worker(
    harness: SchedulerHarness, spec: ClipSpec
) -> None:
    with WorkerClient(harness.socket.endpoint, spec) as worker:
        first = worker.request_clips(capacity=1, timeout_s=60)
        worker.send_result(scores_for(first))
        second = worker.request_clips(capacity=1, timeout_s=60)
    assert [clip.camera for clip in (*first, *second)] == ["a", "b"]


def test_windows_wait_until_the_batch_is_full_or_the_queue_delay_is_over(
    tmp_path: Path, cameras: dict[str, ClipSource], spec: ClipSpec
) -> None:
    cameras["c"] = ClipSource(FrameRing(spec))  # has no complete window yet
    harness = SchedulerHarness(tmp_path, cameras, max_queue_delay_s=2.0)
    harness.scheduler.start()
    try:
        with WorkerClient(harness.socket.endpoint, spec) as worker:
            assert worker.request_clips(capacity=8, timeout_s=0.2) == ()
            harness.clock_offset_s = 2.0
            harness.socket.wake()
            assert len(worker.request_clips(capacity=8, timeout_s=60)) == 2
        for camera in cameras.values():
            camera.ring = filled(spec, 3.0)
        with WorkerClient(harness.socket.endpoint, spec) as worker:
            assert (
                len(worker.request_clips(capacity=8, timeout_s=1)) == 3
            )  # the batch is full: no delay
        for camera in cameras.values():
            camera.ring = filled(spec, 6.0)
        with WorkerClient(harness.socket.endpoint, spec) as worker:
            assert (
                len(worker.request_clips(capacity=2, timeout_s=1)) == 2
            )  # no delay at the worker's capacity either
    finally:
        harness.close()


def test_queue_delay_is_reset_when_the_due_window_disappears(
    tmp_path: Path, cameras: dict[str, ClipSource], spec: ClipSpec
) -> None:
    harness = SchedulerHarness(
        tmp_path, {"a": cameras["a"], "c": ClipSource(FrameRing(spec))}, max_queue_delay_s=1000.0
    )
    harness.scheduler.start()
    try:
        with WorkerClient(harness.socket.endpoint, spec) as worker:
            assert worker.request_clips(capacity=8, timeout_s=0.2) == ()
            assert harness.scheduler._queue_delay_left_s() < math.inf
            cameras["a"].ring = FrameRing(spec)  # the camera disconnected
            harness.socket.wake()
            assert worker.request_clips(capacity=8, timeout_s=0.2) == ()
            assert harness.scheduler._queue_delay_left_s() == math.inf  # or its thread would spin
    finally:
        harness.close()


def test_due_windows_are_divided_among_ready_workers(
    harness: SchedulerHarness, spec: ClipSpec, cameras: dict[str, ClipSource]
) -> None:
    rings = {name: camera.ring for name, camera in cameras.items()}
    for camera in cameras.values():
        camera.ring = None
    with (
        WorkerClient(harness.socket.endpoint, spec, name="one", devices=2) as one,
        WorkerClient(harness.socket.endpoint, spec, name="two") as two,
    ):
        assert (
            one.request_clips(capacity=8, timeout_s=0.2)
            == two.request_clips(capacity=8, timeout_s=0.2)
            == ()
        )
        for name, camera in cameras.items():
            camera.ring = rings[name]
        harness.socket.wake()
        clips = (
            one.request_clips(capacity=8, timeout_s=60),
            two.request_clips(capacity=8, timeout_s=60),
        )
    assert sorted(clip.camera for (clip,) in clips) == ["a", "b"]
    assert sorted(harness.hellos) == [(b"one", 2), (b"two", 1)]


def test_windows_without_motion_are_not_sent_but_counted(
    harness: SchedulerHarness, spec: ClipSpec, cameras: dict[str, ClipSource]
) -> None:
    cameras["a"].gated = True
    with WorkerClient(harness.socket.endpoint, spec) as worker:
        assert [clip.camera for clip in worker.request_clips(capacity=8, timeout_s=60)] == ["b"]
    assert harness.metrics.totals("a") == {"motion_gated_windows": 1}
    assert (cameras["a"].scored_ends_s, cameras["b"].scored_ends_s) == ([], [1.0])


def test_window_is_sent_once(harness: SchedulerHarness, spec: ClipSpec) -> None:
    with WorkerClient(harness.socket.endpoint, spec) as worker:
        assert len(worker.request_clips(capacity=8, timeout_s=60)) == 2
        assert worker.request_clips(capacity=8, timeout_s=0.1) == ()


def test_new_frame_is_sent_to_a_waiting_worker(
    harness: SchedulerHarness, spec: ClipSpec, cameras: dict[str, ClipSource]
) -> None:
    with WorkerClient(harness.socket.endpoint, spec) as worker:
        worker.request_clips(capacity=8, timeout_s=60)
        ring = cameras["a"].ring
        assert ring is not None
        ring.append(np.zeros((8, 8, 3), np.uint8), 1.0, 8.0)
        harness.socket.wake()
        clips = worker.request_clips(capacity=8, timeout_s=60)
    assert [(clip.camera, round(float(clip.times[-1]), 2)) for clip in clips] == [("a", 1.0)]


def test_clips_of_a_hung_worker_are_counted_as_lost(
    harness: SchedulerHarness, spec: ClipSpec
) -> None:
    with WorkerClient(harness.socket.endpoint, spec, name="hung") as hung:
        clips = hung.request_clips(capacity=8, timeout_s=60)
        harness.clock_offset_s = 31.0
        harness.socket.wake()
        harness.wait_for("timeouts")
        # A result after the timeout is only counted.
        hung.send_result(scores_for(clips))
        assert hung.request_clips(capacity=8, timeout_s=0.2) == ()
    assert harness.metrics.totals() == {"late_results": 2, "lost_windows": 2}
    assert harness.timeouts == [b"hung"]
    assert harness.predictions == []


def test_restarted_worker_loses_only_its_clips_in_flight(
    harness: SchedulerHarness, spec: ClipSpec, cameras: dict[str, ClipSource]
) -> None:
    with WorkerClient(harness.socket.endpoint, spec, name="local") as first:
        assert len(first.request_clips(capacity=8, timeout_s=60)) == 2
    ring = cameras["a"].ring
    assert ring is not None
    ring.append(np.zeros((8, 8, 3), np.uint8), 1.0, 8.0)
    with WorkerClient(harness.socket.endpoint, spec, name="local") as second:
        clips = second.request_clips(capacity=8, timeout_s=60)
        second.send_result(scores_for(clips))
        harness.wait_for("predictions")
    assert harness.metrics.total("lost_windows") == 2


def test_scores_of_the_wrong_length_are_rejected(harness: SchedulerHarness, spec: ClipSpec) -> None:
    with WorkerClient(harness.socket.endpoint, spec) as worker:
        clips = worker.request_clips(capacity=1, timeout_s=60)
        worker.send_result(scores_for(clips, count=5))
        worker.send_result(scores_for(clips, count=3))
        harness.wait_for("predictions")
    assert harness.metrics.total("malformed_messages") == 1


def test_worker_with_another_model_is_rejected(harness: SchedulerHarness, spec: ClipSpec) -> None:
    other = replace(spec, model="other")
    with (
        WorkerClient(harness.socket.endpoint, spec) as first,
        WorkerClient(harness.socket.endpoint, other) as second,
    ):
        assert first.request_clips(capacity=1, timeout_s=60)
        with pytest.raises(TransportError, match="uses another model, small"):
            second.request_clips(capacity=1, timeout_s=60)
    assert harness.specs == [spec]


def test_failed_worker_does_not_disturb_other_workers(
    harness: SchedulerHarness, spec: ClipSpec
) -> None:
    with (
        WorkerClient(harness.socket.endpoint, spec) as good,
        WorkerClient(harness.socket.endpoint, None) as bad,
    ):
        clips = good.request_clips(capacity=1, timeout_s=60)
        bad.report_failure("no such model")
        good.send_result(scores_for(clips))
        harness.wait_for("predictions")
        good.request_clips(capacity=1, timeout_s=60)
    assert harness.failures == []


def test_failed_worker_reports_the_reason(harness: SchedulerHarness) -> None:
    with WorkerClient(harness.socket.endpoint, None) as worker:
        worker.report_failure("weights are damaged")
        harness.wait_for("failures")
    assert harness.failures == ["weights are damaged"]


def test_scheduler_is_idle_when_all_due_windows_are_scored(
    harness: SchedulerHarness, spec: ClipSpec
) -> None:
    with WorkerClient(harness.socket.endpoint, spec) as worker:
        clips = worker.request_clips(capacity=8, timeout_s=60)
        assert not harness.scheduler.idle_in(["a", "b"])
        worker.send_result(scores_for(clips))
        harness.wait_for("predictions", 2)
    assert harness.scheduler.idle_in(["a", "b"])
