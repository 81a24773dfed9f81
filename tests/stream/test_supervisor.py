from __future__ import annotations

import os
import signal
import sys
import threading

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
        self.told = threading.Condition()
        self.supervisor = Supervisor([sys.executable, "-c", program], on_restart=self._tell)

    def _tell(self, code: int) -> None:
        with self.told:
            self.codes.append(code)
            self.told.notify_all()

    def wait_for_deaths(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: len(self.codes) >= count, timeout=20)


def test_what_dies_is_started_again() -> None:
    life = Life("raise SystemExit(7)")
    life.supervisor.start()
    life.wait_for_deaths(2)
    life.supervisor.tell_stop()
    assert life.supervisor.join(10)
    assert set(life.codes) == {7}


def test_what_cannot_work_is_not_started_again() -> None:
    life = Life("raise SystemExit(2)")
    life.supervisor.start()
    assert life.supervisor.join(10)
    assert life.codes == []


def test_stop_ends_even_what_does_not_listen() -> None:
    deaf = Life(
        "import signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.pause()\n"
    )
    deaf.supervisor.start()
    while deaf.supervisor.pid is None:
        pass
    pid = deaf.supervisor.pid
    deaf.supervisor.tell_stop()
    assert deaf.supervisor.join(10)
    assert not alive(pid)


def test_a_killed_process_is_replaced_by_another() -> None:
    life = Life("import signal; signal.pause()")
    life.supervisor.start()
    while life.supervisor.pid is None:
        pass
    first = life.supervisor.pid
    os.kill(first, signal.SIGKILL)
    life.wait_for_deaths(1)
    while life.supervisor.pid in (None, first):
        pass
    life.supervisor.tell_stop()
    assert life.supervisor.join(10)
    assert life.codes == [-signal.SIGKILL]
