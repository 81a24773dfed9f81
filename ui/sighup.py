"""SIGHUP: reload the configuration, or stop if the terminal was closed."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path

from stream.config.load import ConfigError
from ui.config_reload import ConfigReloader, NoConfigFileError

_log = logging.getLogger(__name__)
_TERMINAL = Path("/dev/tty")


class SighupHandler:
    """Records SIGHUP; `poll` handles it on the caller's thread."""

    def __init__(self, reload: ConfigReloader, stopped: threading.Event) -> None:
        self._reload, self._stopped = reload, stopped
        self._received = threading.Event()
        self._stops_with_terminal = False

    def listen(self) -> None:
        """Install the handler, from the main thread. Windows has no SIGHUP."""
        if not hasattr(signal, "SIGHUP"):
            return
        # A process started by nohup outlives its terminal.
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._stops_with_terminal = _has_terminal() and not is_ignored
        signal.signal(signal.SIGHUP, lambda *_: self._received.set())

    def poll(self) -> None:
        """Handle a received signal, if any."""
        if not self._received.is_set():
            return
        self._received.clear()
        if self._stops_with_terminal and not _has_terminal():
            self._stopped.set()
        else:
            reload_and_log(self._reload)


def reload_and_log(reload: ConfigReloader) -> None:
    """Reload the file and log the changes, or why there are none."""
    try:
        reload.from_disk()  # logs the changes
    except ConfigError as error:
        # Some of these errors already say that nothing was changed.
        _log.warning("configuration: %s", _unchanged(str(error)))
    except NoConfigFileError as error:
        _log.warning("SIGHUP: %s", error)


def _unchanged(problem: str) -> str:
    if problem.endswith(("nothing was changed", "configuration not changed")):
        return problem
    return f"{problem}; nothing was changed"


def _has_terminal() -> bool:
    """Whether this process has a terminal that is still open."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
