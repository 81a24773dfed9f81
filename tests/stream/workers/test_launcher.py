from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from stream.workers.launcher import LocalWorkers, Supervisor, worker_name


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class SupervisorHarness:
    """A supervisor of a small program; it records the callbacks."""

    def __init__(self, program: str, **options: float) -> None:
        self.codes: list[int] = []
        self.failures: list[str] = []
        self.recorded = threading.Condition()
        self.supervisor = Supervisor(
            [sys.executable, "-c", program],
            on_crash=lambda code: self._record(self.codes, code),
            on_failure=lambda reason: self._record(self.failures, reason),
            **options,
        )

    def _record(self, records: list, record: object) -> None:
        with self.recorded:
            records.append(record)
            self.recorded.notify_all()

    def wait_for_crashes(self, count: int) -> None:
        with self.recorded:
            assert self.recorded.wait_for(lambda: len(self.codes) >= count, timeout=20)

    def stop(self) -> None:
        self.supervisor.request_stop()
        assert self.supervisor.join(10)


def wait_for_pid(file: Path, *, other_than: int | None = None) -> int:
    """Wait until the program has written its process id."""
    pause, tries = threading.Event(), 1000
    while not file.exists() or file.read_text() in ("", str(other_than)):
        assert (tries := tries - 1)
        pause.wait(0.02)
    return int(file.read_text())


def sleeping_program(file: Path, before: str = "") -> str:
    """A program that writes its process id and then sleeps."""
    return (
        f"import os, pathlib, signal\n{before}\n"
        f"pathlib.Path({str(file)!r}).write_text(str(os.getpid()))\n"
        "while True: signal.pause()"
    )


def test_crashed_process_is_restarted() -> None:
    harness = SupervisorHarness("raise SystemExit(7)")
    harness.supervisor.start()
    harness.wait_for_crashes(2)
    harness.stop()
    assert set(harness.codes) == {7}


def test_process_that_can_not_run_is_not_restarted() -> None:
    harness = SupervisorHarness("raise SystemExit(2)")
    harness.supervisor.start()
    assert harness.supervisor.join(10)
    assert harness.codes == []
    assert len(harness.failures) == 1


def test_missing_program_is_a_failure() -> None:
    failures: list[str] = []
    supervisor = Supervisor(
        ["/nowhere/worker"], on_crash=lambda code: None, on_failure=failures.append
    )
    supervisor.start()
    assert supervisor.join(10)
    assert "can't be started" in failures[0]


def test_crash_of_the_supervisor_is_a_failure() -> None:
    failures: list[str] = []
    supervisor = Supervisor(
        ["worker", "--model=a\0b"], on_crash=lambda code: None, on_failure=failures.append
    )
    supervisor.start()
    assert supervisor.join(10)
    assert "embedded null byte" in failures[0]


def test_stop_kills_a_process_that_ignores_sigterm(tmp_path: Path) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    harness = SupervisorHarness(sleeping_program(tmp_path / "pid", ignore))
    harness.supervisor.start()
    pid = wait_for_pid(tmp_path / "pid")
    harness.stop()
    assert not alive(pid)


def test_killed_process_is_replaced(tmp_path: Path) -> None:
    harness = SupervisorHarness(sleeping_program(tmp_path / "pid"))
    harness.supervisor.start()
    first = wait_for_pid(tmp_path / "pid")
    os.kill(first, signal.SIGKILL)
    wait_for_pid(tmp_path / "pid", other_than=first)
    harness.stop()
    assert harness.codes == [-signal.SIGKILL]


def test_hung_process_can_be_replaced(tmp_path: Path) -> None:
    harness = SupervisorHarness(sleeping_program(tmp_path / "pid"))
    harness.supervisor.start()
    first = wait_for_pid(tmp_path / "pid")
    os.kill(first, signal.SIGSTOP)
    harness.supervisor.replace()  # not ready yet: its predecessor was hung
    assert not harness.supervisor._replace.is_set()
    harness.supervisor.on_ready()
    harness.supervisor.replace()
    wait_for_pid(tmp_path / "pid", other_than=first)
    harness.stop()
    assert not alive(first)


def test_process_that_is_not_ready_in_time_is_replaced(tmp_path: Path) -> None:
    harness = SupervisorHarness(sleeping_program(tmp_path / "pid"), startup_timeout_s=0.3)
    harness.supervisor.start()
    first = wait_for_pid(tmp_path / "pid")
    second = wait_for_pid(tmp_path / "pid", other_than=first)
    assert not alive(first)
    harness.stop()
    assert not alive(second)


class LocalWorkersHarness:
    """Local workers that are small programs, one per index; it records the failure."""

    def __init__(self, folder: Path, count: int | None, program: str = "") -> None:
        self.folder, self.program = folder, program
        self.failed, self.reason = threading.Event(), ""
        self.workers = LocalWorkers(
            self._command, count, on_crash=lambda code: None, on_failure=self._fail
        )
        self.workers.start()

    def _fail(self, reason: str) -> None:
        self.reason = reason
        self.failed.set()

    def _command(self, number: int) -> list[str]:
        program = self.program or sleeping_program(self.folder / f"pid-{number}")
        return [sys.executable, "-c", program.replace("NUMBER", str(number))]

    def wait_for_pid(self, number: int, *, other_than: int | None = None) -> int:
        return wait_for_pid(self.folder / f"pid-{number}", other_than=other_than)

    def stop(self) -> None:
        self.workers.request_stop()
        assert self.workers.join(10)
        assert self.workers.pids == ()


def test_configured_number_of_workers_is_started(tmp_path: Path) -> None:
    harness = LocalWorkersHarness(tmp_path, 2)
    started = {harness.wait_for_pid(0), harness.wait_for_pid(1)}
    assert set(harness.workers.pids) == started
    harness.workers.on_ready(worker_name(0).encode(), devices=3)  # the number is configured
    assert set(harness.workers.pids) == started
    harness.stop()


def test_one_worker_per_device_is_started(tmp_path: Path) -> None:
    harness = LocalWorkersHarness(tmp_path, None)
    first = harness.wait_for_pid(0)
    assert harness.workers.pids == (first,)
    harness.workers.on_ready(worker_name(0).encode(), devices=2)
    second = harness.wait_for_pid(1)
    # A restarted worker sends Hello again.
    harness.workers.on_ready(worker_name(0).encode(), devices=2)
    assert harness.workers.pids == (first, second)
    harness.stop()
    harness.workers.on_ready(worker_name(0).encode(), devices=4)  # too late
    assert harness.workers.pids == ()
    assert not alive(first)
    assert not alive(second)


def test_only_the_hung_worker_is_replaced(tmp_path: Path) -> None:
    harness = LocalWorkersHarness(tmp_path, 2)
    first, second = harness.wait_for_pid(0), harness.wait_for_pid(1)
    harness.workers.replace(b"unknown")
    harness.workers.on_ready(worker_name(1).encode(), devices=1)
    harness.workers.replace(worker_name(1).encode())
    harness.wait_for_pid(1, other_than=second)
    assert harness.workers.pids[0] == first
    harness.stop()


def test_run_fails_when_no_worker_is_left(tmp_path: Path) -> None:
    one_runs = "import signal\nif NUMBER: raise SystemExit(2)\nwhile True: signal.pause()"
    harness = LocalWorkersHarness(tmp_path, 2, one_runs)
    while len(harness.workers.pids) == 2:
        harness.failed.wait(0.02)
    assert not harness.failed.is_set()
    harness.stop()
    waits = f"import pathlib\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): pass\n"
    harness = LocalWorkersHarness(tmp_path, 2, f"{waits}raise SystemExit(2)")
    assert not harness.workers.record_failure(b"unknown", "whatever")
    for number in range(2):
        assert harness.workers.record_failure(worker_name(number).encode(), "no memory")
    (tmp_path / "go").touch()
    assert harness.failed.wait(20)
    assert harness.reason == "no memory"
    harness.stop()
