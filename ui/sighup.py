"""SIGHUP: read the configuration again, or stop where it means that the terminal is gone."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path

from stream.config.load import ConfigError
from ui.config_reload import NoFileError, Reload

_log = logging.getLogger(__name__)
_TERMINAL = Path("/dev/tty")


class Hangups:
    """Notes the signals from `listen` on; `look` does what they mean, on the caller's thread."""

    def __init__(self, reload: Reload, stopped: threading.Event) -> None:
        self._reload, self._stopped = reload, stopped
        self._came = threading.Event()
        self._dies_with_terminal = False

    def listen(self) -> None:
        """From the main thread; Windows has no SIGHUP."""
        if not hasattr(signal, "SIGHUP"):
            return
        # Whoever was started by nohup outlives its terminal.
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._dies_with_terminal = _has_terminal() and not is_ignored
        signal.signal(signal.SIGHUP, lambda *_: self._came.set())

    def look(self) -> None:
        """Do what the signals that have come mean."""
        if not self._came.is_set():
            return
        self._came.clear()
        if self._dies_with_terminal and not _has_terminal():
            self._stopped.set()
        else:
            read_again(self._reload)


def read_again(reload: Reload) -> None:
    """Take over the file as it is now, and log what became of it, or why nothing did."""
    try:
        reload.from_disk()  # which logs what it changed
    except ConfigError as error:
        # It says itself that nothing was changed, unless it didn't come so far.
        _log.warning("configuration: %s", _as_it_was(str(error)))
    except NoFileError as error:
        _log.warning("SIGHUP: %s", error)


def _as_it_was(problem: str) -> str:
    said = "nothing was changed"
    return problem if problem.endswith(said) else f"{problem}; {said}"


def _has_terminal() -> bool:
    """Whether this process has a terminal that is still there."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
