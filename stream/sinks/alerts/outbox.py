"""Outbox: alerts that wait for delivery, in memory and on disk. Thread-safe."""

from __future__ import annotations

import errno
import json
import logging
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from stream.runtime.errors import reason_of
from stream.runtime.sqlite_queue import SqliteQueue
from stream.sinks.alerts.sender import Alert

_log = logging.getLogger(__name__)
_MAX_ALERTS = 10_000  # about 700 bytes each
_RETRY_DELAY_S = 10.0  # before the file is written again after an error


class Outbox:
    """A bounded queue of alerts, oldest first.

    Memory is authoritative while the process runs, even if the disk is full; the file is for the
    next process.
    """

    def __init__(
        self,
        file: Path,
        *,
        max_alerts: int = _MAX_ALERTS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._max_alerts, self._now = file, max_alerts, now
        self._queue = SqliteQueue(file, max_items=max_alerts, survives_power_failure=False)
        self._lock = threading.Lock()
        self._alerts: OrderedDict[str, Alert] = OrderedDict()
        self._is_stored = True  # the file holds the whole queue
        self._retry_at = now()
        self._load()
        self.close()  # a queue that is never used holds no file open

    def __len__(self) -> int:
        return len(self._alerts)

    def put(self, alert: Alert) -> Alert | None:
        """Append an alert. Returns the oldest one if it was dropped because the queue was full."""
        with self._lock:
            if alert.id in self._alerts:
                return None
            dropped = None
            if len(self._alerts) >= self._max_alerts:
                _, dropped = self._alerts.popitem(last=False)
            self._alerts[alert.id] = alert
            self._store([dropped] if dropped else [], [alert])
            return dropped

    def oldest(self) -> Alert | None:
        with self._lock:
            return next(iter(self._alerts.values()), None)

    def mark_done(self, alert: Alert) -> None:
        """Remove an alert that was delivered or rejected."""
        with self._lock:
            if self._alerts.pop(alert.id, None) is not None:
                self._store([alert], [])

    def sync(self) -> None:
        """Make the queue survive a power failure, too; it survives a kill at any time."""
        with suppress(OSError):
            self._queue.sync()

    def repair(self) -> None:
        """Write the queue to the file again, some time after an error."""
        with self._lock:
            if self._is_stored or self._now() < self._retry_at:
                return
            try:
                self._store_all()
                self._is_stored = True
                _log.warning("%s is written again", self._file)
            except OSError as error:
                self._retry_at = self._now() + _RETRY_DELAY_S
                _log.debug("%s can't be written: %s", self._file, reason_of(error))

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self._queue.close()

    def _store(self, removed: Sequence[Alert], added: Sequence[Alert]) -> None:
        if not self._is_stored:
            return
        try:
            self._queue.remove(alert.id for alert in removed)
            self._queue.append((alert.id, _text(alert)) for alert in added)
            if len(self._queue) != len(self._alerts):  # the file was deleted or replaced
                self._store_all()
        except OSError as error:
            self._is_stored, self._retry_at = False, self._now() + _RETRY_DELAY_S
            _log.error(
                "%s can't be written (%s): alerts are queued in memory only, and are lost if "
                "this process ends; check the disk",
                self._file,
                reason_of(error),
            )

    def _store_all(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        keys = [item.key for item in self._queue.oldest(sys.maxsize)]
        self._queue.remove(key for key in keys if key not in self._alerts)
        if self._queue.append((alert.id, _text(alert)) for alert in self._alerts.values()):
            raise OSError(errno.ENOSPC, "the alerts are too large")

    def _load(self) -> None:
        """Read the queue of a previous process."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            items = self._queue.oldest(sys.maxsize)
        except OSError as error:
            _log.error(
                "%s can't be read (%s): its alerts are skipped", self._file, reason_of(error)
            )
            self._is_stored = False
            return
        for item in items:
            try:
                alert = Alert(**json.loads(item.text))
            except (ValueError, TypeError):  # written by another version
                _log.warning("%s: an unknown entry was skipped", self._file)
                continue
            self._alerts[alert.id] = alert
        while len(self._alerts) > self._max_alerts:
            self._alerts.popitem(last=False)
        self._is_stored = len(items) == len(self._alerts)
        self.repair()


def _text(alert: Alert) -> str:
    return json.dumps({"id": alert.id, "change": alert.change, "event": dict(alert.event)})
