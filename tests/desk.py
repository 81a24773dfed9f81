"""A scheduler at work in a thread, and streams whose frames a test puts in."""

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
from stream.scheduling.scheduler import Scheduler
from stream.workers.transport import SchedulerEnd


@dataclass
class Watched:
    ring: FrameRing | None
    still: bool = False
    looks: list[float] = field(default_factory=list)

    def is_still(self, start_s: float, end_s: float) -> bool:
        return self.still

    def looked(self, end_s: float) -> None:
        self.looks.append(end_s)


class Desk:
    """A scheduler at work in a thread, with everything that it told."""

    def __init__(
        self,
        folder: Path,
        cameras: dict[str, Watched],
        *,
        batch_wait_s: float = 0.0,
        every_window: bool = False,
    ) -> None:
        self.metrics = Metrics()
        self.predictions: list[Prediction] = []
        self.failures: list[str] = []
        self.specs: list[ClipSpec] = []
        self.silent: list[bytes] = []
        self.hellos: list[tuple[bytes, int]] = []
        self.ahead_s = 0.0  # how far its clock was put forward
        self.told = threading.Condition()
        self.on_prediction: Callable[[], object] = lambda: None
        self.hear: Callable[[Prediction], bool] = lambda prediction: False  # True: not for us
        self.link = SchedulerEnd(
            f"ipc://{folder / 'desk'}", malformed=lambda: self.metrics.count("malformed_messages")
        )
        self.scheduler = Scheduler(
            self.link,
            cameras,
            self.metrics,
            stride_s=0.25,
            answer_within_s=30.0,
            batch_wait_s=batch_wait_s,
            every_window=every_window,
            on_spec=self.specs.append,
            on_prediction=self._take,
            on_failure=lambda _, reason: self._tell(self.failures, reason),
            on_hello=lambda *hello: self._tell(self.hellos, hello),
            on_silence=lambda worker: self._tell(self.silent, worker),
            now=lambda: time.monotonic() + self.ahead_s,
        )
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=self.scheduler.run, args=(self.stop,), name="scheduler"
        )

    def _take(self, prediction: Prediction) -> None:
        self.on_prediction()
        if self.hear(prediction):
            return
        self._tell(self.predictions, prediction)

    def _tell(self, heard: list, what: object) -> None:
        with self.told:
            heard.append(what)
            self.told.notify_all()

    def wait_for(self, what: str, count: int = 1) -> None:
        """Until the list of that name has `count` entries."""
        with self.told:
            assert self.told.wait_for(lambda: len(getattr(self, what)) >= count, timeout=10)

    def close(self) -> None:
        self.stop.set()
        self.link.wake()
        self.thread.join(5)
        assert not self.thread.is_alive()
        self.link.__exit__()


def filled(spec: ClipSpec, until_s: float) -> FrameRing:
    ring = FrameRing(spec)
    for time_s in np.arange(0, until_s, 0.04):
        ring.append(np.full((8, 8, 3), int(time_s * 100) % 256, np.uint8), float(time_s), 7.0)
    return ring


def scores_for(clips: tuple, count: int = 3) -> tuple[Scores, ...]:
    share = np.full(count, 1 / count, np.float32)
    return tuple(Scores(clip.number, share, 0.01) for clip in clips)


def feed(desk: Desk, ring: FrameRing, until_s: float, *, name: str = "film") -> threading.Thread:
    """A file that is read as fast as its windows are taken, in a thread."""

    def read() -> None:
        for time_s in np.arange(0, until_s, 0.04):
            ring.append(np.zeros((8, 8, 3), np.uint8), float(time_s), 7.0)
            desk.link.wake()
            desk.scheduler.hold([name], desk.stop)

    thread = threading.Thread(target=read, name=f"capture {name}")
    thread.start()
    return thread
