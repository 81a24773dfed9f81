"""The lossless scheduler: the worker sets the pace and every window is scored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.messages import ClipSpec
from stream.regions.frame_ring import FrameRing
from stream.workers.transport import WorkerClient
from tests.desk import ClipSource, SchedulerHarness, feed, scores_for


@pytest.fixture
def video(spec: ClipSpec) -> dict[str, ClipSource]:
    return {"video": ClipSource(FrameRing(spec))}


@pytest.fixture
def lossless(tmp_path: Path, video: dict[str, ClipSource]) -> Iterator[SchedulerHarness]:
    harness = SchedulerHarness(tmp_path, video, lossless=True)
    harness.scheduler.start()
    yield harness
    harness.close()


def test_lossless_mode_skips_no_window(
    lossless: SchedulerHarness, video: dict[str, ClipSource], spec: ClipSpec
) -> None:
    with WorkerClient(lossless.socket.endpoint, spec) as worker:
        assert worker.request_clips(capacity=8, timeout_s=0.5) == ()
        reader = feed(lossless, video["video"].ring, 60.0)
        for number in range(1, 239):  # all that end from 0.5 s to 59.75 s
            clips = worker.request_clips(capacity=8, timeout_s=60)
            assert len(clips) == 1  # one per stream at a time, so that they stay in order
            worker.send_result(scores_for(clips))
            lossless.wait_for("predictions", number)
        reader.join(60)
    ends = [prediction.end_s for prediction in lossless.predictions]
    assert np.allclose(np.diff(ends), 0.25, atol=0.05)
    assert lossless.metrics.total("skipped_windows") == 0


def test_lost_window_is_sent_again_in_lossless_mode(
    lossless: SchedulerHarness, video: dict[str, ClipSource], spec: ClipSpec
) -> None:
    with WorkerClient(lossless.socket.endpoint, spec, name="one") as worker:
        assert (
            worker.request_clips(capacity=1, timeout_s=0.5) == ()
        )  # the scheduler has the spec from now on
        reader = feed(lossless, video["video"].ring, 2.0)
        (received,) = worker.request_clips(capacity=1, timeout_s=60)
    with WorkerClient(
        lossless.socket.endpoint, spec, name="one"
    ) as worker:  # restarted after a crash
        (again,) = worker.request_clips(capacity=1, timeout_s=60)
        assert np.array_equal(again.times, received.times)
        worker.send_result(scores_for((again,)))
        for number in range(1, 6):  # the other windows end from 0.75 s to 1.75 s
            lossless.wait_for("predictions", number)
            worker.send_result(scores_for(worker.request_clips(capacity=1, timeout_s=60)))
        lossless.wait_for("predictions", 6)
        reader.join(60)
    ends = [prediction.end_s for prediction in lossless.predictions]
    assert np.allclose(np.diff(ends), 0.25, atol=0.05)
    assert lossless.metrics.total("lost_windows") == 0


def test_lost_windows_of_several_streams_stay_in_order(tmp_path: Path, spec: ClipSpec) -> None:
    videos = {name: ClipSource(FrameRing(spec)) for name in ("a", "b")}
    harness = SchedulerHarness(tmp_path, videos, lossless=True)
    harness.scheduler.start()
    try:
        with WorkerClient(harness.socket.endpoint, spec, name="one") as one:
            assert one.request_clips(capacity=1, timeout_s=0.5) == ()
            readers = [feed(harness, video.ring, 3.0, name=name) for name, video in videos.items()]
            with WorkerClient(harness.socket.endpoint, spec, name="two") as two:
                received = [
                    *one.request_clips(capacity=4, timeout_s=60),
                    *two.request_clips(capacity=4, timeout_s=60),
                ]
        assert sorted(clip.camera for clip in received) == ["a", "b"]
        # Both crashed and are restarted, one after the other.
        with (
            WorkerClient(harness.socket.endpoint, spec, name="one") as one,
            WorkerClient(harness.socket.endpoint, spec, name="two") as two,
        ):
            count = 0
            while count < 20:  # per stream, windows end from 0.5 s to 2.75 s
                for worker in (one, two):
                    clips = worker.request_clips(capacity=4, timeout_s=0.2)
                    worker.send_result(scores_for(clips))
                    count += len(clips)
        for reader in readers:
            reader.join(60)
        harness.wait_for("predictions", 20)
    finally:
        harness.close()
    for name in videos:
        ends = [one.end_s for one in harness.predictions if one.camera == name]
        assert len(ends) == 10
        assert np.allclose(np.diff(ends), 0.25, atol=0.05)
    assert harness.metrics.total("resent_windows") == 2


def test_window_that_is_never_scored_is_a_failure(
    lossless: SchedulerHarness, video: dict[str, ClipSource], spec: ClipSpec
) -> None:
    with WorkerClient(lossless.socket.endpoint, spec, name="one") as worker:
        assert worker.request_clips(capacity=1, timeout_s=0.5) == ()
        reader = feed(lossless, video["video"].ring, 1.0)
    for _ in range(3):
        with WorkerClient(lossless.socket.endpoint, spec, name="one") as worker:
            assert len(worker.request_clips(capacity=1, timeout_s=60)) == 1
    with WorkerClient(lossless.socket.endpoint, spec, name="one") as worker:
        worker.request_clips(capacity=1, timeout_s=0.5)
        lossless.wait_for("failures")
    assert "a window of video was not scored in 3 tries" in lossless.failures[0]
    lossless.stop.set()
    reader.join(60)


def test_prediction_callback_may_call_the_scheduler(
    tmp_path: Path, video: dict[str, ClipSource], spec: ClipSpec
) -> None:
    harness = SchedulerHarness(tmp_path, video, lossless=True)
    idle: list[bool] = []
    harness.before_prediction = lambda: idle.append(harness.scheduler.idle_in(["video"]))
    harness.scheduler.start()
    try:
        with WorkerClient(harness.socket.endpoint, spec) as worker:
            assert worker.request_clips(capacity=1, timeout_s=0.5) == ()
            reader = feed(harness, video["video"].ring, 0.6)
            worker.send_result(scores_for(worker.request_clips(capacity=1, timeout_s=60)))
            harness.wait_for("predictions")
            reader.join(60)
    finally:
        harness.close()
    assert idle == [False]  # not delivered yet
