"""Browser sessions with a real scheduler; the test acts as the worker."""

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
from stream.sessions.manager import ModelNotReadyError, SessionLimitError, SessionManager
from stream.sessions.session import BrowserSession
from stream.workers.transport import WorkerClient
from tests.conftest import Clock
from tests.desk import ClipSource, SchedulerHarness, filled, scores_for
from tests.waiting import wait_for

POLICY = EventsConfig(min_duration=0, smoothing=0, merge_gap=0)
FRAME = np.zeros((12, 16, 3), np.uint8)


class SessionsHarness:
    """A scheduler with browser sessions."""

    def __init__(self, folder: Path, spec: ClipSpec) -> None:
        self.spec = spec
        self.cameras = {"door": ClipSource(None)}
        self.scheduling = SchedulerHarness(folder, self.cameras)
        self.sessions = SessionManager(
            3,
            POLICY,
            self.scheduling.metrics,
        )
        self.scheduling.intercept = self.sessions.on_prediction
        self.sessions.on_model(spec, 5.0, self.scheduling.scheduler)
        self.scheduling.scheduler.start()


@pytest.fixture
def harness(tmp_path: Path, spec: ClipSpec) -> Iterator[SessionsHarness]:
    harness = SessionsHarness(tmp_path, spec)
    yield harness
    harness.scheduling.close()


def put_frames(session: BrowserSession, from_s: float, until_s: float, *, color: int = 0) -> None:
    for time_s in np.arange(from_s, until_s, 0.04):
        session.put(np.full((12, 16, 3), color, np.uint8), float(time_s))


def by_color(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
    """Certain scores for the label whose index the frames are filled with."""
    return tuple(
        Scores(clip.number, np.eye(3, dtype=np.float32)[clip.frames[-1, 0, 0, 0]], 0.01)
        for clip in clips
    )


def label(session: BrowserSession) -> str:
    prediction = session.view().prediction
    return prediction.top(1)[0][0] if prediction is not None else ""


def test_each_session_gets_only_its_own_predictions_and_events(harness: SessionsHarness) -> None:
    with (
        WorkerClient(harness.scheduling.socket.endpoint, harness.spec) as worker,
        harness.sessions.open() as one,
        harness.sessions.open() as two,
    ):
        assert worker.request_clips(capacity=4, timeout_s=0.1) == ()
        assert one.missing_s == pytest.approx(0.3)
        put_frames(one, 100.0, 101.0, color=1)  # their clocks are independent
        put_frames(two, 3.0, 4.0, color=2)
        assert one.missing_s == 0.0
        for _ in range(2):  # one at a time
            clips = worker.request_clips(capacity=4, timeout_s=60)
            assert len(clips) == 1
            worker.send_result(by_color(clips))
        wait_for(lambda: label(one) == "jump" and label(two) == "run")
        assert [event.label for event in one.view().open_events] == ["jump"]
        assert [event.label for event in two.view().open_events] == ["run"]
    assert harness.scheduling.predictions == []  # not delivered elsewhere
    counts = harness.scheduling.metrics.counts()
    assert counts["windows", "browser_session"] == 2
    assert {label for _, label in counts} <= {"", "browser_session"}


def test_one_session_window_joins_a_batch_of_cameras(harness: SessionsHarness) -> None:
    harness.cameras["door"].ring = filled(harness.spec, 1.0)
    with harness.sessions.open() as one, harness.sessions.open() as two:
        put_frames(one, 0.0, 1.0)
        put_frames(two, 0.0, 1.0)
        with WorkerClient(harness.scheduling.socket.endpoint, harness.spec) as worker:
            names = [clip.camera for clip in worker.request_clips(capacity=4, timeout_s=60)]
    assert names == ["door", one.name]


def test_sessions_get_windows_under_full_load(harness: SessionsHarness) -> None:
    with (
        harness.sessions.open() as one,
        WorkerClient(harness.scheduling.socket.endpoint, harness.spec) as worker,
    ):
        assert worker.request_clips(capacity=1, timeout_s=0.1) == ()
        put_frames(one, 0.0, 1.0)
        names = []
        for number in range(8):
            harness.cameras["door"].ring = filled(harness.spec, 1.3 + number)
            (clip,) = worker.request_clips(capacity=1, timeout_s=60)
            names.append(clip.camera)
            put_frames(one, 1.0 + number, 2.0 + number)
            worker.send_result(scores_for((clip,)))
    assert 1 <= names.count(one.name) <= 2
    assert names.count("door") >= 6


def test_session_over_the_limit_is_rejected_until_another_closes(
    harness: SessionsHarness,
) -> None:
    with ExitStack() as opened:
        first = opened.enter_context(ExitStack())
        first.enter_context(harness.sessions.open())
        for _ in range(2):
            opened.enter_context(harness.sessions.open())
        with (
            pytest.raises(SessionLimitError, match="session limit reached \\(3\\)"),
            harness.sessions.open(),
        ):
            pass
        first.close()
        with harness.sessions.open():
            assert len(harness.sessions) == 3
        harness.sessions.update_config(0, POLICY)
        with pytest.raises(SessionLimitError, match="disabled"), harness.sessions.open():
            pass
    assert len(harness.sessions) == 0


def test_no_session_opens_before_the_model_is_loaded_nor_at_shutdown() -> None:
    sessions = SessionManager(
        1,
        POLICY,
        Metrics(),
    )
    with pytest.raises(ModelNotReadyError, match="not ready yet"), sessions.open():
        pass
    sessions.request_stop()
    with pytest.raises(ModelNotReadyError, match="ending"), sessions.open():
        pass


def test_result_for_a_closed_session_is_dropped(harness: SessionsHarness) -> None:
    with WorkerClient(harness.scheduling.socket.endpoint, harness.spec) as worker:
        assert worker.request_clips(capacity=1, timeout_s=0.1) == ()
        with harness.sessions.open() as session:
            put_frames(session, 0.0, 1.0)
            clips = worker.request_clips(capacity=1, timeout_s=60)
        worker.send_result(by_color(clips))
        wait_for(lambda: harness.scheduling.metrics.total("orphaned_results") == 1)
    assert harness.scheduling.metrics.total("late_results") == 0
    assert harness.scheduling.metrics.total("lost_windows") == 0
    session.put(FRAME, 2.0)  # dropped without an error
    assert session.view().prediction is None


def test_closed_session_releases_its_memory(harness: SessionsHarness) -> None:
    threads = threading.active_count()
    closed: list[weakref.ref] = []
    for _ in range(50):
        with harness.sessions.open() as session:
            put_frames(session, 0.0, 0.2)
            closed += (weakref.ref(session), weakref.ref(session.ring))
    del session
    gc.collect()
    assert [one for one in closed if one() is not None] == []  # and nothing references them
    assert threading.active_count() == threads


def test_no_window_spans_a_jump_of_the_browsers_clock(spec: ClipSpec, clock: Clock) -> None:
    session = new_session(spec, clock)
    put_frames(session, 10.0, 11.0)
    assert session.missing_s == 0.0
    for time_s in (13.0, 2.0):  # forward and back: another part of a video
        clock.seconds += 1
        session.put(FRAME, time_s)
        assert session.missing_s == pytest.approx(0.3)
        assert session.ring is not None
        assert session.ring.newest_s == time_s
        assert not session.ring.covers(spec.times(time_s))
    session.put(FRAME, 1.9)  # slightly late: only this frame is dropped
    assert session.ring.newest_s == 2.0


def test_unneeded_frames_of_a_flood_are_dropped(spec: ClipSpec, clock: Clock) -> None:
    metrics = Metrics()
    session = new_session(spec, clock, metrics)
    for number in range(1000):
        session.put(FRAME, number / 1000)
    totals = metrics.totals("browser_session")
    assert totals["frames"] == 1000
    assert totals["unused_frames"] >= 950


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), -1.0, 1e300])
def test_invalid_time_is_rejected(spec: ClipSpec, clock: Clock, time_s: float) -> None:
    with pytest.raises(ValueError, match="time must be seconds"):
        new_session(spec, clock).put(FRAME, time_s)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
    ids=["gray", "float", "empty"],
)
def test_invalid_frame_is_rejected(spec: ClipSpec, clock: Clock, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a frame must be"):
        new_session(spec, clock).put(pixels, 1.0)


def new_session(spec: ClipSpec, clock: Clock, metrics: Metrics | None = None) -> BrowserSession:
    return BrowserSession(
        "browser_session:1",
        spec,
        POLICY,
        metrics or Metrics(),
        gap_s=5.0,
        on_frame=lambda: None,
        now=clock,
    )
