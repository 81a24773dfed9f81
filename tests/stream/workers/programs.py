"""Small programs in place of workers, and a launcher that starts them."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from stream.workers.launcher import ProcessHandle, WorkerHandle


class ProgramLauncher:
    """Starts a Python program, in which NUMBER is the index of the worker."""

    def __init__(self, program: str) -> None:
        self.program = program

    def launch(self, number: int) -> WorkerHandle:
        program = self.program.replace("NUMBER", str(number))
        return ProcessHandle([sys.executable, "-c", program])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


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
