"""The latest warnings and errors of the log, for those who look on."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone

from stream.runtime.logging_setup import OURS

_MOST = 20
_LONGEST = 500  # characters


@dataclass(frozen=True, slots=True)
class Trouble:
    """A warning or an error, in one line."""

    at: datetime  # UTC
    level: str  # "warning" or "error"
    text: str


class LatestTroubles(logging.Handler):
    """Keeps what is logged between `__enter__` and `__exit__`. Any thread may read it."""

    def __init__(self, *, most: int = _MOST) -> None:
        super().__init__(logging.WARNING)
        self._kept: deque[Trouble] = deque(maxlen=most)

    @property
    def kept(self) -> tuple[Trouble, ...]:
        """Oldest first."""
        self.acquire()  # the handler's own lock, that `emit` is called under
        try:
            return tuple(self._kept)
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                said += f": {record.exc_info[0].__name__}"  # its message may hold an address
            text = " ".join(said.split())[:_LONGEST]
            at = datetime.fromtimestamp(record.created, timezone.utc)
            level = "error" if record.levelno >= logging.ERROR else "warning"
            self._kept.append(Trouble(at, level, text))
        except Exception:  # as the library's own handlers do: who logs must not fail for that
            self.handleError(record)

    def __enter__(self) -> LatestTroubles:
        for name in OURS:
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for name in OURS:
            logging.getLogger(name).removeHandler(self)
        self.close()
