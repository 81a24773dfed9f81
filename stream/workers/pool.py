"""The local workers of a run, and the crash limit that ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from stream.config.config import WorkerConfig
from stream.runtime.metrics import Metrics
from stream.workers.launcher import LocalWorkers

_MAX_CRASHES, _CRASH_WINDOW_S = 5, 300.0  # per worker, until the run fails


class WorkerPool:
    """The local workers; empty if all workers run on other machines.

    `command` returns the command line of a worker by its index. `on_failure` receives the reason
    why the run can't continue.
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
        self._lock = threading.Lock()
        self._crashed_at: list[float] = []  # monotonic seconds
        self._workers = (
            LocalWorkers(
                command,
                None if config.count == "auto" else config.count,
                on_crash=self._record_crash,
                on_failure=on_failure,
                startup_timeout_s=config.startup_timeout,
            )
            if config.local
            else None
        )

    def __bool__(self) -> bool:
        """Whether the run has local workers."""
        return self._workers is not None

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the running workers."""
        return self._workers.pids if self._workers else ()

    def start(self) -> None:
        if self._workers:
            self._workers.start()

    def request_stop(self) -> None:
        if self._workers:
            self._workers.request_stop()

    def join(self, timeout_s: float) -> bool:
        """Wait until all workers have ended; False after `timeout_s`."""
        return self._workers is None or self._workers.join(timeout_s)

    # On the scheduler's thread, for local and remote workers.
    def on_worker_failure(self, worker: bytes, reason: str) -> None:
        """A worker can't run its model."""
        if not (self._workers and self._workers.record_failure(worker, reason)):
            self._on_failure(reason)

    def on_hello(self, worker: bytes, devices: int) -> None:
        if self._workers:
            self._workers.on_ready(worker, devices)

    def on_timeout(self, worker: bytes) -> None:
        """A worker is hung."""
        if self._workers:
            self._workers.replace(worker)

    # On a supervisor's thread.
    def _record_crash(self, code: int) -> None:
        self._metrics.count("worker_restarts")
        assert self._workers is not None  # the crash was of one of them
        max_crashes = _MAX_CRASHES * self._workers.started
        with self._lock:
            now = self._now()
            recent = [
                crashed_at for crashed_at in self._crashed_at if now - crashed_at < _CRASH_WINDOW_S
            ]
            self._crashed_at = [*recent, now]
            too_many = len(self._crashed_at) >= max_crashes
        if too_many:
            self._on_failure(
                f"the worker ended {max_crashes} times within {_CRASH_WINDOW_S / 60:.0f} minutes, "
                f"the last time with code {code}; see its messages above"
            )
