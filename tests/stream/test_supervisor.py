from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from stream.supervisor import Supervisor


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Life:
    """A supervisor of a small program, and what it told."""

    def __init__(self, program: str) -> None:
        self.codes: list[int] = []
        self.failures: list[str] = []
        self.told = threading.Condition()
        self.supervisor = Supervisor(
            [sys.executable, "-c", program],
            on_death=lambda code: self._tell(self.codes, code),
            on_failure=lambda reason: self._tell(self.failures, reason),
        )

    def _tell(self, heard: list, what: object) -> None:
        with self.told:
            heard.append(what)
            self.told.notify_all()

    def wait_for_deaths(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: len(self.codes) >= count, timeout=20)

    def wait_for_pid(self, file: Path, *, other_than: int | None = None) -> int:
        """Until the program has written its process id, which it does when it is ready."""
        pause, tries = threading.Event(), 1000
        while not file.exists() or file.read_text() in ("", str(other_than)):
            assert (tries := tries - 1)
            pause.wait(0.02)
        return int(file.read_text())

    def stop(self) -> None:
        self.supervisor.tell_stop()
        assert self.supervisor.join(10)


def ready(file: Path, before: str = "") -> str:
    """A program that says that it is ready, and then waits for ever."""
    return (
        f"import os, pathlib, signal\n{before}\n"
        f"pathlib.Path({str(file)!r}).write_text(str(os.getpid()))\n"
        "while True: signal.pause()"
    )


def test_what_dies_is_started_again() -> None:
    life = Life("raise SystemExit(7)")
    life.supervisor.start()
    life.wait_for_deaths(2)
    life.stop()
    assert set(life.codes) == {7}


def test_what_cannot_work_is_not_started_again() -> None:
    life = Life("raise SystemExit(2)")
    life.supervisor.start()
    assert life.supervisor.join(10)
    assert life.codes == []
    assert len(life.failures) == 1


def test_a_program_that_cannot_be_started_is_told() -> None:
    failures: list[str] = []
    supervisor = Supervisor(
        ["/nowhere/worker"], on_death=lambda code: None, on_failure=failures.append
    )
    supervisor.start()
    assert supervisor.join(10)
    assert "can't be started" in failures[0]


def test_stop_ends_even_what_does_not_listen(tmp_path: Path) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    life = Life(ready(tmp_path / "pid", deaf))
    life.supervisor.start()
    pid = life.wait_for_pid(tmp_path / "pid")
    life.stop()
    assert not alive(pid)


def test_a_killed_process_is_replaced_by_another(tmp_path: Path) -> None:
    life = Life(ready(tmp_path / "pid"))
    life.supervisor.start()
    first = life.wait_for_pid(tmp_path / "pid")
    os.kill(first, signal.SIGKILL)
    life.wait_for_pid(tmp_path / "pid", other_than=first)
    life.stop()
    assert life.codes == [-signal.SIGKILL]


def test_a_process_that_hangs_can_be_replaced(tmp_path: Path) -> None:
    life = Life(ready(tmp_path / "pid"))
    life.supervisor.start()
    first = life.wait_for_pid(tmp_path / "pid")
    os.kill(first, signal.SIGSTOP)
    life.supervisor.replace()
    life.wait_for_pid(tmp_path / "pid", other_than=first)
    life.stop()
    assert not alive(first)
