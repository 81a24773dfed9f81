from __future__ import annotations

import os
import re
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from stream.runtime.metrics import Metrics
from stream.workers.launcher import ProcessHandle, WorkerHandle, WorkerLauncher
from stream.workers.supervisor import Supervisor
from tests.stream.workers.programs import ProgramLauncher, alive, sleeping_program, wait_for_pid


class SupervisorHarness:
    """A supervisor of a small program; it records what the supervisor reports."""

    def __init__(self, worker: str | WorkerLauncher, *, startup_timeout_s: float = 1000) -> None:
        self.codes: list[int] = []
        self.failures: list[str] = []
        self.metrics = Metrics()
        self.recorded = threading.Condition()
        launcher = ProgramLauncher(worker) if isinstance(worker, str) else worker
        self.supervisor = Supervisor(
            launcher,
            3,
            self.metrics,
            on_crash=partial(self._record, self.codes),
            on_end=partial(self._record, self.failures),
            startup_timeout_s=startup_timeout_s,
        )

    def _record(self, records: list, record: object) -> None:
        with self.recorded:
            records.append(record)
            self.recorded.notify_all()

    def wait_for_crashes(self, count: int) -> None:
        with self.recorded:
            assert self.recorded.wait_for(lambda: len(self.codes) >= count, timeout=60)

    def stop(self) -> None:
        self.supervisor.thread.request_stop()
        assert self.supervisor.thread.join(60)


def test_crashed_process_is_restarted() -> None:
    harness = SupervisorHarness("raise SystemExit(7)")
    harness.supervisor.thread.start()
    harness.wait_for_crashes(2)
    harness.stop()
    assert set(harness.codes) == {7}


def test_process_that_can_not_run_is_not_restarted() -> None:
    harness = SupervisorHarness("raise SystemExit(2)")
    harness.supervisor.thread.start()
    assert harness.supervisor.thread.join(60)
    assert harness.codes == []
    assert len(harness.failures) == 1


class CommandLauncher:
    """Starts a command that can't run."""

    def __init__(self, *command: str) -> None:
        self.command = command

    def launch(self, number: int) -> WorkerHandle:
        return ProcessHandle(self.command)


class BrokenLauncher:
    def launch(self, number: int) -> WorkerHandle:
        raise RuntimeError("no such cluster")


@pytest.mark.parametrize(
    ("launcher", "reason"),
    [
        (CommandLauncher("/nowhere/worker"), "the worker can't be started: .*No such file"),
        (CommandLauncher("worker", "a\0b"), "the worker can't be started: embedded null byte"),
        (BrokenLauncher(), "supervisor crashed: RuntimeError: no such cluster"),
    ],
)
def test_worker_that_can_not_be_started_is_a_failure(launcher: WorkerLauncher, reason: str) -> None:
    harness = SupervisorHarness(launcher)
    harness.supervisor.thread.start()
    assert harness.supervisor.thread.join(60)
    assert re.match(reason, harness.failures[0])


class LosingHandle(ProcessHandle):
    """Fails the first time that it is asked about its process."""

    lost = False

    def wait(self, timeout_s: float) -> int | None:
        if not self.lost:
            self.lost = True
            raise RuntimeError("lost")
        return super().wait(timeout_s)


class LosingLauncher:
    def __init__(self) -> None:
        self.pids: list[int] = []

    def launch(self, number: int) -> WorkerHandle:
        handle = LosingHandle([sys.executable, "-c", "import signal; signal.pause()"])
        self.pids.append(handle.pid)
        return handle


def test_crash_of_a_supervisor_is_counted_and_ends_its_worker() -> None:
    launcher = LosingLauncher()
    harness = SupervisorHarness(launcher)
    harness.supervisor.thread.start()
    assert harness.supervisor.thread.join(60)
    assert harness.failures == ["supervisor crashed: RuntimeError: lost"]
    assert harness.metrics.totals() == {"thread_crashes": 1}
    assert harness.supervisor.pid is None
    assert not alive(launcher.pids[0])


def test_stop_kills_a_process_that_ignores_sigterm(tmp_path: Path) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    harness = SupervisorHarness(sleeping_program(tmp_path / "pid", ignore))
    harness.supervisor.thread.start()
    pid = wait_for_pid(tmp_path / "pid")
    harness.stop()
    assert not alive(pid)


def test_killed_process_is_replaced(tmp_path: Path) -> None:
    harness = SupervisorHarness(sleeping_program(tmp_path / "pid"))
    harness.supervisor.thread.start()
    first = wait_for_pid(tmp_path / "pid")
    os.kill(first, signal.SIGKILL)
    wait_for_pid(tmp_path / "pid", other_than=first)
    harness.stop()
    assert harness.codes == [-signal.SIGKILL]


def test_hung_process_can_be_replaced(tmp_path: Path) -> None:
    harness = SupervisorHarness(sleeping_program(tmp_path / "pid"))
    harness.supervisor.thread.start()
    first = wait_for_pid(tmp_path / "pid")
    os.kill(first, signal.SIGSTOP)
    harness.supervisor.replace()  # not ready yet: its predecessor was hung
    assert not harness.supervisor._replace.is_set()
    harness.supervisor.ready.set()
    harness.supervisor.replace()
    wait_for_pid(tmp_path / "pid", other_than=first)
    harness.stop()
    assert not alive(first)


def test_process_that_is_not_ready_in_time_is_replaced(tmp_path: Path) -> None:
    harness = SupervisorHarness(sleeping_program(tmp_path / "pid"), startup_timeout_s=0.3)
    harness.supervisor.thread.start()
    first = wait_for_pid(tmp_path / "pid")
    second = wait_for_pid(tmp_path / "pid", other_than=first)
    assert not alive(first)
    harness.stop()
    assert not alive(second)
