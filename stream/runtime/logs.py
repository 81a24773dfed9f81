"""The log: what is printed on the terminal, and the latest problems for the dashboard."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone

OWN_LOGGERS = ("stream", "model", "ui")  # loggers; the user can't act on messages of others
_MAX_ENTRIES = 20
_MAX_LENGTH = 500  # characters


def configure_logging(prefix: str = "") -> None:
    """Print messages on standard error, with the time and `prefix`."""
    handler = logging.StreamHandler()
    handler.addFilter(_is_for_user)
    line_format = f"%(asctime)s {prefix}%(message)s"
    logging.basicConfig(
        level=logging.INFO, format=line_format, datefmt="%H:%M:%S", handlers=[handler]
    )


def _is_for_user(record: logging.LogRecord) -> bool:
    package = record.name.partition(".")[0]
    if package in OWN_LOGGERS:
        return True
    # Warnings of the hub need no action; problems are logged as errors.
    return record.levelno >= (logging.ERROR if package == "huggingface_hub" else logging.WARNING)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A warning or an error on one line."""

    at: datetime  # UTC
    level: str  # "warning" or "error"
    text: str


class RecentLogHandler(logging.Handler):
    """Stores messages that are logged between `__enter__` and `__exit__`. Thread-safe."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._entries: deque[LogEntry] = deque(maxlen=_MAX_ENTRIES)

    @property
    def entries(self) -> tuple[LogEntry, ...]:
        """Oldest first."""
        self.acquire()  # the lock that `emit` is called under
        try:
            return tuple(self._entries)
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                # Without its text, which may contain an address with a password.
                message += f": {record.exc_info[0].__name__}"
            text = " ".join(message.split())[:_MAX_LENGTH]
            at = datetime.fromtimestamp(record.created, timezone.utc)
            level = "error" if record.levelno >= logging.ERROR else "warning"
            self._entries.append(LogEntry(at, level, text))
        except Exception:  # like logging's own handlers: the caller must not fail
            self.handleError(record)

    def __enter__(self) -> RecentLogHandler:
        for name in OWN_LOGGERS:
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for name in OWN_LOGGERS:
            logging.getLogger(name).removeHandler(self)
        self.close()
