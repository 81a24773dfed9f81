"""A scheduler running in a thread, and streams whose frames the tests add."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stream.messages import ClipSpec, Prediction, Scores
from stream.regions.frame_ring import FrameRing
from stream.runtime.metrics import Metrics
from stream.scheduling.policy import POLICIES
from stream.scheduling.scheduler import Scheduler
from stream.workers.transport import SchedulerSocket


@dataclass
class ClipSource:
    ring: FrameRing | None
    gated: bool = False
    scored_ends_s: list[float] = field(default_factory=list)

    def is_gated(self, start_s: float, end_s: float) -> bool:
        return self.gated

    def mark_scored(self, end_s: float) -> None:
        self.scored_ends_s.append(end_s)


class SchedulerHarness:
    """A scheduler running in a thread; it records every callback."""

    def __init__(
        self,
        folder: Path,
        cameras: dict[str, ClipSource],
        *,
        max_queue_delay_s: float = 0.0,
        lossless: bool = False,
    ) -> None:
        self.metrics = Metrics()
        self.predictions: list[Prediction] = []
        self.failures: list[str] = []
        self.specs: list[ClipSpec] = []
        self.timeouts: list[bytes] = []
        self.hellos: list[tuple[bytes, int]] = []
        self.clock_offset_s = 0.0  # added to the scheduler's clock
        self.recorded = threading.Condition()
        self.before_prediction: Callable[[], object] = lambda: None
        # Returns True for a prediction that it consumes.
        self.intercept: Callable[[Prediction], bool] = lambda prediction: False
        self.socket = SchedulerSocket(f"ipc://{folder / 'scheduler'}", self.metrics)
        self.scheduler = Scheduler(
            self.socket,
            cameras,
            self.metrics,
            stride_s=0.25,
            result_timeout_s=30.0,
            max_queue_delay_s=max_queue_delay_s,
            policy=POLICIES["lossless" if lossless else "newest_wins"],
            predictions=self,
            workers=self,
            now=lambda: time.monotonic() + self.clock_offset_s,
        )
        self.stop = threading.Event()  # of the threads that feed it

    def on_model(self, spec: ClipSpec) -> None:
        self.specs.append(spec)

    def on_prediction(self, prediction: Prediction) -> None:
        self.before_prediction()
        if not self.intercept(prediction):
            self._record(self.predictions, prediction)

    def on_hello(self, worker: bytes, devices: int) -> None:
        self._record(self.hellos, (worker, devices))

    def on_timeout(self, worker: bytes) -> None:
        self._record(self.timeouts, worker)

    def on_worker_failure(self, worker: bytes, reason: str) -> None:
        self._record(self.failures, reason)

    def _record(self, records: list, record: object) -> None:
        with self.recorded:
            records.append(record)
            self.recorded.notify_all()

    def wait_for(self, name: str, count: int = 1) -> None:
        """Wait until the list of that name has `count` entries."""
        with self.recorded:
            assert self.recorded.wait_for(lambda: len(getattr(self, name)) >= count, timeout=60)

    def close(self) -> None:
        self.stop.set()
        self.scheduler.request_stop()
        assert self.scheduler.join(60)
        self.socket.__exit__()


def filled(spec: ClipSpec, until_s: float) -> FrameRing:
    ring = FrameRing(spec)
    for time_s in np.arange(0, until_s, 0.04):
        ring.append(np.full((8, 8, 3), int(time_s * 100) % 256, np.uint8), float(time_s), 7.0)
    return ring


def scores_for(clips: tuple, count: int = 3) -> tuple[Scores, ...]:
    probabilities = np.full(count, 1 / count, np.float32)
    return tuple(Scores(clip.number, probabilities, 0.01) for clip in clips)


def feed(
    harness: SchedulerHarness, ring: FrameRing, until_s: float, *, name: str = "video"
) -> threading.Thread:
    """Add the frames of a video in a thread, as fast as its windows are scored."""

    def read() -> None:
        for time_s in np.arange(0, until_s, 0.04):
            ring.append(np.zeros((8, 8, 3), np.uint8), float(time_s), 7.0)
            harness.socket.wake()
            harness.scheduler.wait_for_backpressure([name], harness.stop)

    thread = threading.Thread(target=read, name=f"capture {name}")
    thread.start()
    return thread
