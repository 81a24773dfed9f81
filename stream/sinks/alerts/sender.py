"""An alert on its way: what is sent, and what may become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that somebody is told."""

    id: str  # unique, and the same each time that it is sent: by it a receiver knows repeats
    change: str  # "start" or "end" of the event
    event: Mapping[str, Any]  # a row, see event_rows.py


class UndeliveredError(Exception):
    """It could not be delivered now; it is tried again. The message says why, without addresses."""

    def __init__(self, reason: str, *, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s  # not before that, said the receiver


class RefusedError(Exception):
    """The receiver does not want it, however often it is sent. The message says why."""


class Sender(Protocol):
    """A way to a receiver. It belongs to one thread, but for what any thread may call."""

    def send(self, alert: Alert) -> None:
        """Return when the receiver has acknowledged it. Raises UndeliveredError
        or RefusedError."""

    def rest(self, timeout_s: float) -> None:
        """Nothing is to be sent: return after `wake`, or after the time. May raise
        UndeliveredError."""

    def close(self) -> None:
        """Let go of the receiver. The last that is called."""

    def show(self, camera: str, label: str, *, on: bool | None) -> None:
        """What goes on now, for receivers that know states; None: it may some time.

        Any thread may call it.
        """

    def wake(self) -> None:
        """Make `rest` return. Any thread may call it."""
