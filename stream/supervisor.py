"""Starts the local worker and starts it again, after a pause, when it dies.

`Supervisor` owns the worker's process; its thread is the only one that touches it.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 30.0
_PATIENCE_S = 1.0  # between asking a worker to stop and ending it
_CANNOT_WORK = 2  # exit code
_STEADY_S = 30.0  # a worker that lived this long begins again with the shortest pause


class Supervisor:
    """Keeps one command running between `start` and `stop`."""

    def __init__(self, command: list[str], *, on_restart: Callable[[int], None]) -> None:
        self._command = command
        self._on_restart = on_restart
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self.pid: int | None = None

    def start(self) -> None:
        self._thread.start()

    def tell_stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until the worker has ended; False where it did not in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            # Its own session: Ctrl+C in the terminal is for us, who then stop it in order.
            process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, start_new_session=True
            )
            self.pid = process.pid
            lived_s = self._watch(process)
            self.pid = None
            if self._stop.is_set() or process.returncode == _CANNOT_WORK:
                return  # in the latter case it has told why, and would only do so again
            _log.warning(
                "worker ended with code %s; starting it again in %.1f s",
                process.returncode,
                pause_s,
            )
            self._on_restart(process.returncode)
            if lived_s > _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def _watch(self, process: subprocess.Popen[bytes]) -> float:
        """Wait until the process has ended, by itself or because of `stop`. Seconds it lived."""
        lived_s = 0.0
        while not self._stop.is_set():
            try:
                process.wait(timeout=0.1)
                return lived_s
            except subprocess.TimeoutExpired:
                lived_s += 0.1
        process.terminate()
        try:
            process.wait(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return lived_s


def worker_command(endpoint: str, model: str) -> list[str]:
    """The command of a worker on this machine, run by this Python."""
    return [
        sys.executable,
        "-m",
        "model.worker",
        "--connect",
        endpoint,
        "--model",
        model,
        "--name",
        "local",
    ]
