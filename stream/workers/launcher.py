"""Local worker processes; each is restarted with backoff after a crash.

A `Supervisor` owns one worker's process; only its thread uses the process.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from stream.config.config import InferenceConfig
from stream.runtime.service import ServiceThread
from stream.runtime.subprocesses import module_command
from stream.runtime.thread_limits import worker_environment

_log = logging.getLogger(__name__)
_MIN_DELAY_S, _MAX_DELAY_S = 0.5, 30.0  # before a restart
_EXIT_CANNOT_RUN = 2  # exit code
_TERMINATE_TIMEOUT_S = 1.0  # between SIGTERM and SIGKILL
_REASON_TIMEOUT_S = 1.0
_STABLE_AFTER_S = 30.0  # a worker that ran this long restarts with the shortest delay


class Supervisor:
    """Keeps one command running between `start` and `request_stop`.

    `on_crash` receives the exit code before each restart. `on_failure` receives the reason when a
    restart can't help.
    """

    def __init__(
        self,
        command: list[str],
        *,
        on_crash: Callable[[int], None],
        on_failure: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
        startup_timeout_s: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._environment = command, environment
        self._on_death, self._on_failure = on_crash, on_failure
        self._startup_timeout_s = startup_timeout_s
        self._ready = threading.Event()  # the current process has sent Hello
        self._now = now
        self._replace = threading.Event()
        self._thread = ServiceThread("supervisor", self._run, on_crash=on_failure)
        self._stop = self._thread.stopping
        self.pid: int | None = None

    def start(self) -> None:
        self._thread.start()

    def on_ready(self) -> None:
        """The process has loaded its model."""
        self._ready.set()

    def replace(self) -> None:
        """Kill the hung process and start another.

        Does nothing while the process is not ready: then its predecessor timed out, not it.
        """
        if self._ready.is_set():
            self._replace.set()

    def request_stop(self) -> None:
        self._thread.request_stop()

    def join(self, timeout_s: float) -> bool:
        """Wait until the worker has ended; False after `timeout_s`."""
        return self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._keep_running()
        except OSError as error:
            self._on_failure(f"the worker can't be started: {error}")

    def _keep_running(self) -> None:
        delay_s = _MIN_DELAY_S
        while not self._stop.is_set():
            started_at = self._now()
            self._ready.clear()
            # Its own session: on Ctrl+C in the terminal this process stops the worker in order.
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
            )
            self.pid = process.pid
            code = self._wait(process, started_at + self._startup_timeout_s)
            self.pid = None
            if self._stop.is_set():
                return
            if code == _EXIT_CANNOT_RUN:  # it has printed the reason; a restart would fail again
                self._on_failure("the worker can't run; see its message above")
                return
            _log.warning("worker ended with code %s; restarting it in %.1f s", code, delay_s)
            self._on_death(code)
            if self._now() - started_at > _STABLE_AFTER_S:
                delay_s = _MIN_DELAY_S
            self._stop.wait(delay_s)
            delay_s = min(2 * delay_s, _MAX_DELAY_S)

    def _wait(self, process: subprocess.Popen[bytes], ready_by: float) -> int:
        """Wait until the process has ended or has to be stopped. Returns its exit code."""
        while not self._stop.is_set() and not self._replace.is_set():
            try:
                return process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                if not self._ready.is_set() and self._now() > ready_by:
                    _log.warning("worker was not ready in %.0f s", self._startup_timeout_s)
                    self._replace.set()
        if self._replace.is_set():
            self._replace.clear()
            process.kill()
            return process.wait()
        process.terminate()
        try:
            return process.wait(timeout=_TERMINATE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class LocalWorkers:
    """The workers on this machine, each with a supervisor of its own.

    `command` returns the command line of a worker by its index. `count` None means one per GPU: the
    first worker's Hello has their number, because only workers import torch. `on_failure` is
    called when no worker is left.
    """

    def __init__(
        self,
        command: Callable[[int], list[str]],
        count: int | None,
        *,
        on_crash: Callable[[int], None],
        on_failure: Callable[[str], None],
        startup_timeout_s: float = math.inf,
    ) -> None:
        self._command, self._count = command, count
        self._startup_timeout_s = startup_timeout_s
        self._on_death, self._on_failure = on_crash, on_failure
        self._lock = threading.Condition()  # the first Hello may arrive during shutdown
        self._supervisors: list[Supervisor] = []
        self._failed: set[int] = set()
        self._reasons: dict[bytes, str] = {}  # from Failure messages
        self._stopping = False

    def start(self) -> None:
        self._scale_to(self._count or 1)

    def on_ready(self, identity: bytes, devices: int) -> None:
        """A worker sent Hello with the number of devices for workers like it."""
        with self._lock:
            found = self._by_name(identity)
        if found is not None:
            found.on_ready()
            if self._count is None:
                self._scale_to(devices)

    @property
    def started(self) -> int:
        """The number of workers, running or not."""
        return len(self._supervisors)

    def record_failure(self, identity: bytes, reason: str) -> bool:
        """Store why a worker can't run. False if it is not a local worker."""
        with self._lock:
            found = self._by_name(identity)
            if found is not None:
                self._reasons[identity] = reason
                self._lock.notify_all()
        return found is not None

    def replace(self, identity: bytes) -> None:
        """Kill the hung worker of that name and start another; ignores other workers."""
        with self._lock:
            found = self._by_name(identity)
        if found is not None:
            _log.warning("worker %s is hung; replacing it", identity.decode())
            found.replace()

    def request_stop(self) -> None:
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
            for supervisor in self._supervisors:
                supervisor.request_stop()

    def join(self, timeout_s: float) -> bool:
        """Wait until all workers have ended; False after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        ended = [one.join(max(0.0, deadline - time.monotonic())) for one in self._supervisors]
        return all(ended)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the running workers."""
        return tuple(one.pid for one in self._supervisors if one.pid is not None)

    def _by_name(self, identity: bytes) -> Supervisor | None:
        names = [worker_name(number).encode() for number in range(len(self._supervisors))]
        return self._supervisors[names.index(identity)] if identity in names else None

    def _scale_to(self, count: int) -> None:
        with self._lock:
            for number in range(len(self._supervisors), 0 if self._stopping else count):
                supervisor = Supervisor(
                    self._command(number),
                    on_crash=self._on_death,
                    on_failure=partial(self._on_worker_failure, number),
                    environment=worker_environment(count),
                    startup_timeout_s=self._startup_timeout_s,
                )
                self._supervisors.append(supervisor)
                supervisor.start()

    def _on_worker_failure(self, number: int, reason: str) -> None:
        with self._lock:
            self._failed.add(number)
            none_left = len(self._failed) == len(self._supervisors)
            name = worker_name(number).encode()
            # The process has ended, but its Failure message may still be in flight.
            self._lock.wait_for(lambda: name in self._reasons or self._stopping, _REASON_TIMEOUT_S)
            reason = self._reasons.get(name, reason)
        if none_left:
            self._on_failure(reason)
        else:
            _log.warning("%s: %s; the other workers continue", worker_name(number), reason)


def worker_name(number: int) -> str:
    """The identity of a local worker, which stays the same across restarts."""
    return f"local-{number}"


def worker_command(
    endpoint: str, model: str, inference: InferenceConfig, *, number: int = 0
) -> list[str]:
    """The command line of a local worker, run by this Python; `number` selects its GPU."""
    options = [f"--connect={endpoint}", f"--model={model}", f"--name={worker_name(number)}"]
    options += [f"--number={number}"]
    options += [
        f"--{key.replace('_', '-')}={getattr(inference, key)}"
        for key in InferenceConfig.model_fields
    ]
    return [*module_command("model.worker"), *options, f"--parent={os.getpid()}"]
