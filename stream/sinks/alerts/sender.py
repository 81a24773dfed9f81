"""An alert, the ways its delivery can fail, and the interface of senders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from stream.runtime.errors import UserError


@dataclass(frozen=True, slots=True)
class Alert:
    """One message for a receiver: an event started or ended."""

    id: str  # unique, and the same on each retry, so that receivers can drop duplicates
    change: str  # "start" or "end" of the event
    event: Mapping[str, Any]  # a row, see event_log/rows.py


class AlertError(UserError):
    """An alert can't work as configured; the message says why, in one line, without addresses."""


class UndeliveredError(Exception):
    """The delivery failed and will be retried. The message says why, without addresses."""

    def __init__(
        self, reason: str, *, retry_after_s: float = 0.0, is_retrying: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s  # minimum delay, as asked for by the receiver
        self.is_retrying = is_retrying  # the sender reconnects, and its next call waits for that


class RejectedError(Exception):
    """The receiver rejects the alert for good; it is not retried. The message says why."""


class AlertSender(Protocol):
    """A connection to a receiver. One thread owns it; methods for any thread say so."""

    def send(self, alert: Alert) -> None:
        """Return when the receiver has acknowledged it. Raises UndeliveredError
        or RejectedError."""

    def idle(self, timeout_s: float) -> None:
        """Nothing is queued: wait for `wake` or the timeout. May raise UndeliveredError."""

    def close(self) -> None:
        """Close the connection. The last call."""

    def set_state(self, camera: str, label: str, *, on: bool | None) -> None:
        """Whether an event is open now, for receivers with states; None only announces it.

        Any thread may call it.
        """

    def wake(self) -> None:
        """Make `idle` return. Any thread may call it."""
