"""The local workers of a run, and the crash limit that ends it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from stream.runtime.metrics import Metrics
from stream.runtime.service import join_all
from stream.workers.launcher import LAUNCHERS, WorkerSetup, worker_name
from stream.workers.supervisor import Supervisor

_log = logging.getLogger(__name__)
_MAX_CRASHES, _CRASH_WINDOW_S = 5, 300.0  # per worker, until the run fails
_REASON_TIMEOUT_S = 1.0


class WorkerPool:
    """The local workers, each with a supervisor; none if all workers run on other machines.

    A configured count "auto" means one per GPU: the first worker's Hello has their number, because
    only workers import torch. `on_failure` receives the reason why the run can't continue.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        metrics: Metrics,
        *,
        on_failure: Callable[[str], None],
        launcher: str = "subprocess",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._setup, self._metrics = setup, metrics
        self._on_failure, self._now = on_failure, now
        self._create_launcher = LAUNCHERS[launcher]
        self._lock = threading.Condition()  # the first Hello may arrive during shutdown
        self._supervisors: dict[bytes, Supervisor] = {}  # by the name of the worker
        self._failed: set[bytes] = set()
        self._reasons: dict[bytes, str] = {}  # from Failure messages
        self._crashed_at: list[float] = []  # monotonic seconds
        self._stopping = False

    def __bool__(self) -> bool:
        """Whether the run has local workers."""
        return self._setup.config.local

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the running workers."""
        with self._lock:
            pids = [one.pid for one in self._supervisors.values()]
        return tuple(pid for pid in pids if pid is not None)

    def start(self) -> None:
        if self:
            count = self._setup.config.count
            self._scale_to(1 if count == "auto" else count)

    def request_stop(self) -> None:
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
            for supervisor in self._supervisors.values():
                supervisor.thread.request_stop()

    def join(self, timeout_s: float) -> bool:
        return join_all([one.thread for one in self._supervisors.values()], timeout_s)

    # On the scheduler's thread, for local and remote workers.
    def on_worker_failure(self, worker: bytes, reason: str) -> None:
        """A worker can't run its model."""
        with self._lock:
            if worker in self._supervisors:
                self._reasons[worker] = reason
                self._lock.notify_all()
                return
        self._on_failure(reason)

    def on_hello(self, worker: bytes, devices: int) -> None:
        """A worker is ready; the number of devices for workers like it is known."""
        if worker in self._supervisors:
            self._supervisors[worker].ready.set()
            if self._setup.config.count == "auto":
                self._scale_to(devices)

    def on_timeout(self, worker: bytes) -> None:
        """A worker is hung. A local one is replaced."""
        if worker in self._supervisors:
            _log.warning("worker %s is hung; replacing it", worker.decode())
            self._supervisors[worker].replace()

    # On a supervisor's thread.
    def on_crash(self, code: int) -> None:
        """A worker is restarted; too many restarts end the run."""
        self._metrics.count("worker_restarts")
        with self._lock:
            now = self._now()
            recent = [at for at in self._crashed_at if now - at < _CRASH_WINDOW_S]
            self._crashed_at = [*recent, now]
            limit = _MAX_CRASHES * len(self._supervisors)
            too_many = len(self._crashed_at) >= limit
        if too_many:
            self._on_failure(
                f"the worker ended {limit} times within {_CRASH_WINDOW_S / 60:.0f} minutes, "
                f"the last time with code {code}; see its messages above"
            )

    def _on_end(self, name: bytes, reason: str) -> None:
        """A worker is not restarted; the run ends with the last one."""
        with self._lock:
            self._failed.add(name)
            none_left = len(self._failed) == len(self._supervisors)
            # The process has ended, but its Failure message may still be in flight.
            self._lock.wait_for(lambda: name in self._reasons or self._stopping, _REASON_TIMEOUT_S)
            reason = self._reasons.get(name, reason)
        if none_left:
            self._on_failure(reason)
        else:
            _log.warning("%s: %s; the other workers continue", name.decode(), reason)

    def _scale_to(self, count: int) -> None:
        with self._lock:
            launcher = self._create_launcher(replace(self._setup, count=count))
            for number in range(len(self._supervisors), 0 if self._stopping else count):
                name = worker_name(number).encode()
                self._supervisors[name] = Supervisor(
                    launcher,
                    number,
                    self._metrics,
                    on_crash=self.on_crash,
                    on_end=partial(self._on_end, name),
                    startup_timeout_s=self._setup.config.startup_timeout,
                )
                self._supervisors[name].thread.start()
