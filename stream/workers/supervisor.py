"""A `Supervisor` keeps one worker running; it is restarted with backoff after a crash."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from stream.runtime.metrics import Metrics
from stream.runtime.service import Backoff, ServiceThread
from stream.workers.launcher import EXIT_CANNOT_RUN, LaunchError, WorkerHandle, WorkerLauncher

_log = logging.getLogger(__name__)
_MIN_DELAY_S, _MAX_DELAY_S = 0.5, 30.0  # before a restart
_STABLE_AFTER_S = 30.0  # a worker that ran this long restarts with the shortest delay
_POLL_S = 0.1
_TERMINATE_TIMEOUT_S = 1.0  # until a worker that was asked to end is killed


class Supervisor:
    """Keeps the worker of one index running while its `thread` runs.

    On its thread, `on_crash` receives the exit code of a worker that is restarted, and `on_end`
    the reason why a restart can't help.
    """

    def __init__(
        self,
        launcher: WorkerLauncher,
        number: int,
        metrics: Metrics,
        *,
        on_crash: Callable[[int], None],
        on_end: Callable[[str], None],
        startup_timeout_s: float,
    ) -> None:
        self._launcher, self._number = launcher, number
        self._on_crash, self._on_end = on_crash, on_end
        self._startup_timeout_s = startup_timeout_s
        self.ready = threading.Event()  # to be set when the current worker has sent Hello
        self._replace = threading.Event()
        self.thread = ServiceThread("supervisor", self._run, metrics=metrics, on_crash=on_end)
        self.pid: int | None = None

    def replace(self) -> None:
        """Kill the hung worker and start another.

        Does nothing while the worker is not ready: then its predecessor timed out, not it.
        """
        if self.ready.is_set():
            self._replace.set()

    def _run(self) -> None:
        backoff = Backoff(_MIN_DELAY_S, _MAX_DELAY_S)
        stopping = self.thread.stopping
        while not stopping.is_set():
            started_at = time.monotonic()
            self.ready.clear()
            try:
                worker = self._launcher.launch(self._number)
            except LaunchError as error:
                self._on_end(str(error))
                return
            code: int | None = None
            try:
                self.pid = worker.pid
                code = self._wait(worker, started_at + self._startup_timeout_s)
            finally:
                if code is None:  # this thread crashed: nobody else ends the worker
                    worker.kill()
                    worker.wait(_TERMINATE_TIMEOUT_S)
                self.pid = None
            if stopping.is_set():
                return
            if code == EXIT_CANNOT_RUN:
                self._on_end("the worker can't run; see its message above")
                return
            if time.monotonic() - started_at > _STABLE_AFTER_S:
                backoff.reset()
            delay_s = backoff.next_s()
            _log.warning("worker ended with code %s; restarting it in %.1f s", code, delay_s)
            self._on_crash(code)
            stopping.wait(delay_s)

    def _wait(self, worker: WorkerHandle, ready_by: float) -> int:
        """Wait until the worker has ended or has to be stopped. Returns its exit code."""
        while not self.thread.stopping.is_set() and not self._replace.is_set():
            if (code := worker.wait(_POLL_S)) is not None:
                return code
            if not self.ready.is_set() and time.monotonic() > ready_by:
                _log.warning("worker was not ready in %.0f s", self._startup_timeout_s)
                self._replace.set()
        if not self._replace.is_set():
            worker.terminate()
            if (code := worker.wait(_TERMINATE_TIMEOUT_S)) is not None:
                return code
        self._replace.clear()
        worker.kill()
        while (code := worker.wait(_POLL_S)) is None:
            pass
        return code
