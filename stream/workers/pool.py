"""The local workers of a run: what they say of themselves, and when their trouble is lasting."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream.config.config import WorkerConfig
from stream.runtime.metrics import Metrics
from stream.workers.launcher import LocalWorkers

_MOST_DEATHS, _DEATHS_WITHIN_S = 5, 300.0  # of a worker, until its trouble is taken for lasting


class Crew:
    """None, where workers elsewhere do the work. `command` gives that of the worker of a number.

    `on_failure` is told why the run can't go on.
    """

    def __init__(
        self,
        command: Callable[[int], list[str]],
        config: WorkerConfig,
        metrics: Metrics,
        *,
        on_failure: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._on_failure = on_failure
        self._now = now
        self._deaths: list[float] = []  # monotonic seconds
        self._workers = (
            LocalWorkers(
                command,
                None if config.workers == "auto" else config.workers,
                on_death=self._note_death,
                on_failure=on_failure,
                ready_within_s=config.ready_within,
            )
            if config.local
            else None
        )

    def __bool__(self) -> bool:
        """Whether there are to be any."""
        return self._workers is not None

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of those that run now."""
        return self._workers.pids if self._workers else ()

    def start(self) -> None:
        if self._workers:
            self._workers.start()

    def tell_stop(self) -> None:
        if self._workers:
            self._workers.tell_stop()

    def join(self, timeout_s: float) -> bool:
        """Wait until all have ended; False where one did not in time."""
        return self._workers is None or self._workers.join(timeout_s)

    # On the scheduler's thread, of any worker.
    def take_failure(self, worker: bytes, reason: str) -> None:
        """A worker can't work."""
        if not (self._workers and self._workers.blame(worker, reason)):
            self._on_failure(reason)

    def take_hello(self, worker: bytes, devices: int) -> None:
        if self._workers:
            self._workers.greeted(worker, devices)

    def take_silence(self, worker: bytes) -> None:
        """A worker does not answer."""
        if self._workers:
            self._workers.replace(worker)

    # On a supervisor's thread.
    def _note_death(self, code: int) -> None:
        self._metrics.count("worker_restarts")
        self._deaths.append(self._now())
        assert self._workers is not None  # one of them it was
        most = _MOST_DEATHS * self._workers.started
        recent = [moment for moment in self._deaths if moment > self._now() - _DEATHS_WITHIN_S]
        self._deaths = recent
        if len(recent) >= most:
            self._on_failure(
                f"the worker ended {most} times within {_DEATHS_WITHIN_S / 60:.0f} minutes, the "
                f"last time with code {code}; see its messages above"
            )
