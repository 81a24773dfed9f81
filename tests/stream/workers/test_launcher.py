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


class Life:
    """A supervisor of a small program, and what it told."""

    def __init__(self, program: str, **options: float) -> None:
        self.codes: list[int] = []
        self.failures: list[str] = []
        self.told = threading.Condition()
        self.supervisor = Supervisor(
            [sys.executable, "-c", program],
            on_death=lambda code: self._tell(self.codes, code),
            on_failure=lambda reason: self._tell(self.failures, reason),
            **options,
        )

    def _tell(self, heard: list, what: object) -> None:
        with self.told:
            heard.append(what)
            self.told.notify_all()

    def wait_for_deaths(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: len(self.codes) >= count, timeout=20)

    def stop(self) -> None:
        self.supervisor.tell_stop()
        assert self.supervisor.join(10)


def wait_for_pid(file: Path, *, other_than: int | None = None) -> int:
    """Until the program has written its process id, which it does when it is ready."""
    pause, tries = threading.Event(), 1000
    while not file.exists() or file.read_text() in ("", str(other_than)):
        assert (tries := tries - 1)
        pause.wait(0.02)
    return int(file.read_text())


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
    pid = wait_for_pid(tmp_path / "pid")
    life.stop()
    assert not alive(pid)


def test_a_killed_process_is_replaced_by_another(tmp_path: Path) -> None:
    life = Life(ready(tmp_path / "pid"))
    life.supervisor.start()
    first = wait_for_pid(tmp_path / "pid")
    os.kill(first, signal.SIGKILL)
    wait_for_pid(tmp_path / "pid", other_than=first)
    life.stop()
    assert life.codes == [-signal.SIGKILL]


def test_a_process_that_hangs_can_be_replaced(tmp_path: Path) -> None:
    life = Life(ready(tmp_path / "pid"))
    life.supervisor.start()
    first = wait_for_pid(tmp_path / "pid")
    os.kill(first, signal.SIGSTOP)
    life.supervisor.replace()  # it has not said hello: what hangs was its predecessor
    assert not life.supervisor._replace.is_set()
    life.supervisor.greeted()
    life.supervisor.replace()
    wait_for_pid(tmp_path / "pid", other_than=first)
    life.stop()
    assert not alive(first)


def test_a_process_that_never_gets_ready_is_replaced(tmp_path: Path) -> None:
    life = Life(ready(tmp_path / "pid"), ready_within_s=0.3)
    life.supervisor.start()
    first = wait_for_pid(tmp_path / "pid")
    second = wait_for_pid(tmp_path / "pid", other_than=first)
    assert not alive(first)
    life.stop()
    assert not alive(second)


class Crew:
    """Local workers that are small programs, one for each number, and what they told."""

    def __init__(self, folder: Path, count: int | None, program: str = "") -> None:
        self.folder, self.program = folder, program
        self.failed, self.reason = threading.Event(), ""
        self.workers = LocalWorkers(
            self._command, count, on_death=lambda code: None, on_failure=self._fail
        )
        self.workers.start()

    def _fail(self, reason: str) -> None:
        self.reason = reason
        self.failed.set()

    def _command(self, number: int) -> list[str]:
        program = self.program or ready(self.folder / f"pid-{number}")
        return [sys.executable, "-c", program.replace("NUMBER", str(number))]

    def wait_for_pid(self, number: int, *, other_than: int | None = None) -> int:
        return wait_for_pid(self.folder / f"pid-{number}", other_than=other_than)

    def stop(self) -> None:
        self.workers.tell_stop()
        assert self.workers.join(10)
        assert self.workers.pids == ()


def test_so_many_workers_are_started_as_were_asked_for(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 2)
    started = {crew.wait_for_pid(0), crew.wait_for_pid(1)}
    assert set(crew.workers.pids) == started
    crew.workers.greeted(worker_name(0).encode(), devices=3)  # it was told a number
    assert set(crew.workers.pids) == started
    crew.stop()


def test_there_is_one_worker_for_each_device(tmp_path: Path) -> None:
    crew = Crew(tmp_path, None)
    first = crew.wait_for_pid(0)
    assert crew.workers.pids == (first,)
    crew.workers.greeted(worker_name(0).encode(), devices=2)
    second = crew.wait_for_pid(1)
    # A worker that was started again says hello again.
    crew.workers.greeted(worker_name(0).encode(), devices=2)
    assert crew.workers.pids == (first, second)
    crew.stop()
    crew.workers.greeted(worker_name(0).encode(), devices=4)  # too late
    assert crew.workers.pids == ()
    assert not alive(first)
    assert not alive(second)


def test_only_the_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 2)
    first, second = crew.wait_for_pid(0), crew.wait_for_pid(1)
    crew.workers.replace(b"a stranger")
    crew.workers.greeted(worker_name(1).encode(), devices=1)
    crew.workers.replace(worker_name(1).encode())
    crew.wait_for_pid(1, other_than=second)
    assert crew.workers.pids[0] == first
    crew.stop()


def test_the_run_has_failed_when_no_worker_is_left(tmp_path: Path) -> None:
    one_works = "import signal\nif NUMBER: raise SystemExit(2)\nwhile True: signal.pause()"
    crew = Crew(tmp_path, 2, one_works)
    while len(crew.workers.pids) == 2:
        crew.failed.wait(0.02)
    assert not crew.failed.is_set()
    crew.stop()
    waits = f"import pathlib\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): pass\n"
    crew = Crew(tmp_path, 2, f"{waits}raise SystemExit(2)")
    assert not crew.workers.blame(b"a stranger", "whatever")
    for number in range(2):
        assert crew.workers.blame(worker_name(number).encode(), "no memory")
    (tmp_path / "go").touch()
    assert crew.failed.wait(20)
    assert crew.reason == "no memory"
    crew.stop()
