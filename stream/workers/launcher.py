"""Starts the local workers and starts each again, after a pause, when it dies.

A `Supervisor` owns one worker's process; its thread is the only one that touches it.
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
from stream.runtime.subprocesses import python_command
from stream.runtime.thread_limits import worker_environment

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 30.0
_CANNOT_WORK = 2  # exit code
_PATIENCE_S = 1.0  # between asking a worker to stop and ending it
_HEARD_WITHIN_S = 1.0
_STEADY_S = 30.0  # a worker that lived this long begins again with the shortest pause


class Supervisor:
    """Keeps one command running between `start` and `tell_stop`.

    `on_death` is told the exit code whenever it has to be started again, `on_failure` the reason
    when that would be no use.
    """

    def __init__(
        self,
        command: list[str],
        *,
        on_death: Callable[[int], None],
        on_failure: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
        ready_within_s: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._environment = command, environment
        self._on_death, self._on_failure = on_death, on_failure
        self._ready_within_s = ready_within_s
        self._ready = threading.Event()  # the process that runs now has said hello
        self._now = now
        self._stop = threading.Event()
        self._replace = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self.pid: int | None = None

    def start(self) -> None:
        self._thread.start()

    def greeted(self) -> None:
        """The process has said that it is ready."""
        self._ready.set()

    def replace(self) -> None:
        """End the process, which hangs, and start another.

        One that is not ready yet is let be: what was not answered is its predecessor's.
        """
        if self._ready.is_set():
            self._replace.set()

    def tell_stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until the worker has ended; False where it did not in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._keep_running()
        except OSError as error:
            self._on_failure(f"the worker can't be started: {error}")

    def _keep_running(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            began_at = self._now()
            self._ready.clear()
            # Its own session: Ctrl+C in the terminal is for us, who then stop it in order.
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
            )
            self.pid = process.pid
            code = self._watch(process, began_at + self._ready_within_s)
            self.pid = None
            if self._stop.is_set():
                return
            if code == _CANNOT_WORK:  # it has told why; again it would only do the same
                self._on_failure("the worker can't work; see its message above")
                return
            _log.warning("worker ended with code %s; starting it again in %.1f s", code, pause_s)
            self._on_death(code)
            if self._now() - began_at > _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def _watch(self, process: subprocess.Popen[bytes], ready_by: float) -> int:
        """Wait until the process has ended, by itself or because it must. Its exit code."""
        while not self._stop.is_set() and not self._replace.is_set():
            try:
                return process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                if not self._ready.is_set() and self._now() > ready_by:
                    _log.warning("worker was not ready in %.0f s", self._ready_within_s)
                    self._replace.set()
        if self._replace.is_set():
            self._replace.clear()
            process.kill()
            return process.wait()
        process.terminate()
        try:
            return process.wait(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class LocalWorkers:
    """The workers on this machine, each with a supervisor of its own.

    `command` gives the command of the worker of that number. `count` None means one for each GPU:
    how many there are is known when the first worker has said hello, for only workers know torch.
    `on_failure` is told when none is left that works.
    """

    def __init__(
        self,
        command: Callable[[int], list[str]],
        count: int | None,
        *,
        on_death: Callable[[int], None],
        on_failure: Callable[[str], None],
        ready_within_s: float = math.inf,
    ) -> None:
        self._command, self._count = command, count
        self._ready_within_s = ready_within_s
        self._on_death, self._on_failure = on_death, on_failure
        self._lock = threading.Condition()  # the first hello may come while everything stops
        self._supervisors: list[Supervisor] = []
        self._failed: set[int] = set()
        self._reasons: dict[bytes, str] = {}  # that they told over the line
        self._stopping = False

    def start(self) -> None:
        self._grow_to(self._count or 1)

    def greeted(self, identity: bytes, devices: int) -> None:
        """A worker said hello, and how many devices there are for workers like it."""
        with self._lock:
            found = self._by_name(identity)
        if found is not None:
            found.greeted()
            if self._count is None:
                self._grow_to(devices)

    @property
    def started(self) -> int:
        """How many there are, dead or alive."""
        return len(self._supervisors)

    def blame(self, identity: bytes, reason: str) -> bool:
        """A worker says why it can't work. False where it is none of these."""
        with self._lock:
            found = self._by_name(identity)
            if found is not None:
                self._reasons[identity] = reason
                self._lock.notify_all()
        return found is not None

    def replace(self, identity: bytes) -> None:
        """End the worker of that name, which hangs, and start another; strangers are let be."""
        with self._lock:
            found = self._by_name(identity)
        if found is not None:
            _log.warning("worker %s does not answer; replacing it", identity.decode())
            found.replace()

    def tell_stop(self) -> None:
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
            for supervisor in self._supervisors:
                supervisor.tell_stop()

    def join(self, timeout_s: float) -> bool:
        """Wait until all have ended; False where one did not in time."""
        deadline = time.monotonic() + timeout_s
        ended = [one.join(max(0.0, deadline - time.monotonic())) for one in self._supervisors]
        return all(ended)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of those that run now."""
        return tuple(one.pid for one in self._supervisors if one.pid is not None)

    def _by_name(self, identity: bytes) -> Supervisor | None:
        names = [worker_name(number).encode() for number in range(len(self._supervisors))]
        return self._supervisors[names.index(identity)] if identity in names else None

    def _grow_to(self, count: int) -> None:
        with self._lock:
            for number in range(len(self._supervisors), 0 if self._stopping else count):
                supervisor = Supervisor(
                    self._command(number),
                    on_death=self._on_death,
                    on_failure=partial(self._give_up, number),
                    environment=worker_environment(count),
                    ready_within_s=self._ready_within_s,
                )
                self._supervisors.append(supervisor)
                supervisor.start()

    def _give_up(self, number: int, reason: str) -> None:
        with self._lock:
            self._failed.add(number)
            none_works = len(self._failed) == len(self._supervisors)
            name = worker_name(number).encode()
            # It has ended already, but what it said may still be under way.
            self._lock.wait_for(lambda: name in self._reasons or self._stopping, _HEARD_WITHIN_S)
            reason = self._reasons.get(name, reason)
        if none_works:
            self._on_failure(reason)
        else:
            _log.warning("%s: %s; the others go on", worker_name(number), reason)


def worker_name(number: int) -> str:
    """By which a local worker that was started again is known as the same one."""
    return f"local-{number}"


def worker_command(
    endpoint: str, model: str, inference: InferenceConfig, *, number: int = 0
) -> list[str]:
    """The command of a worker on this machine, run by this Python; `number` chooses its GPU."""
    options = [f"--connect={endpoint}", f"--model={model}", f"--name={worker_name(number)}"]
    options += [f"--number={number}"]
    options += [f"--{key}={getattr(inference, key)}" for key in InferenceConfig.model_fields]
    return [*python_command("model.worker"), *options, f"--parent={os.getpid()}"]
