"""Outbox: alerts that wait for delivery, in memory and on disk. Thread-safe.

Memory is authoritative while the process runs; the file is for the next one. Each line adds an
alert or marks it as done, after a checksum: lines that a crash truncated are skipped. No file stays
open between two calls.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stream.sinks.alerts.sender import Alert

_log = logging.getLogger(__name__)
_MAX_ALERTS = 10_000  # about 700 bytes each
_SPARE_LINES = 1000  # obsolete lines that the file may hold before it is rewritten
_RETRY_DELAY_S = 10.0  # before the file is written again after an error


class Outbox:
    """A bounded queue of alerts, oldest first."""

    def __init__(
        self,
        file: Path,
        *,
        max_alerts: int = _MAX_ALERTS,
        spare_lines: int = _SPARE_LINES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._max_alerts, self._now = file, max_alerts, now
        self._spare_lines = spare_lines
        self._lock = threading.Lock()
        self._alerts: OrderedDict[str, Alert] = OrderedDict()
        self._lines = 0  # in the file
        self._is_stored = True  # the file holds the whole queue
        self._is_synced = True
        self._new_lines: list[bytes] | None = None  # appended while the file is rewritten
        self._retry_at = now()
        self._load()

    def __len__(self) -> int:
        return len(self._alerts)

    def put(self, alert: Alert) -> Alert | None:
        """Append an alert. Returns the oldest one if it was dropped because the queue was full."""
        with self._lock:
            if alert.id in self._alerts:
                return None
            dropped, lines = None, [_added(alert)]
            if len(self._alerts) >= self._max_alerts:
                _, dropped = self._alerts.popitem(last=False)
                lines.insert(0, _done(dropped.id))
            self._alerts[alert.id] = alert
            self._append(lines)
            return dropped

    def oldest(self) -> Alert | None:
        with self._lock:
            return next(iter(self._alerts.values()), None)

    def mark_done(self, alert: Alert) -> None:
        """Remove an alert that was delivered or rejected."""
        with self._lock:
            if self._alerts.pop(alert.id, None) is not None:
                self._append([_done(alert.id)])

    def sync(self) -> None:
        """fsync the file, so that the queue survives a power failure."""
        if self._is_synced or not self._is_stored:
            return
        self._is_synced = True
        with contextlib.suppress(OSError), self._file.open("ab") as file:
            os.fsync(file.fileno())

    def compact(self) -> None:
        """Rewrite the file if most of its lines are obsolete, or if alerts are missing from it.

        Only one thread may call it. Other methods don't wait for the disk meanwhile.
        """
        with self._lock:
            is_small = self._lines <= 2 * len(self._alerts) + self._spare_lines
            if self._now() < self._retry_at or (self._is_stored and is_small):
                return
            self._retry_at = self._now() + _RETRY_DELAY_S
            alerts = list(self._alerts.values())
            self._new_lines = []
        new = self._file.with_name(self._file.name + ".part")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            _write(new, map(_added, alerts), "wb", sync=True)
            with self._lock:
                _write(new, self._new_lines, "ab")
                new.replace(self._file)
                self._lines = len(alerts) + len(self._new_lines)
                if not self._is_stored:
                    _log.warning("%s is written again", self._file)
                self._is_stored, self._retry_at = True, self._now()
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            _log.debug("%s can't be rewritten: %s", self._file, error.strerror)
        finally:
            with self._lock:
                self._new_lines = None

    def _append(self, lines: list[bytes]) -> None:
        """Append lines to the file, unbuffered: they survive a kill of this process."""
        if self._new_lines is not None:
            self._new_lines += lines
        if not self._is_stored:
            return
        try:
            _write(self._file, lines, "ab")
        except OSError as error:
            self._is_stored = False
            self._retry_at = self._now() + _RETRY_DELAY_S
            _log.error(
                "%s can't be written (%s): alerts are queued in memory only, and are lost if "
                "this process ends; check the disk",
                self._file,
                error.strerror,
            )
        self._lines += len(lines)
        self._is_synced = False

    def _load(self) -> None:
        """Read the queue of a previous process."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            content = self._file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.error("%s can't be read (%s): its alerts are skipped", self._file, error.strerror)
            self._is_stored = False
            return
        *lines, rest = content.split(b"\n")
        corrupted = int(bool(rest))
        for line in lines:
            corrupted += not self._apply(line)
        while len(self._alerts) > self._max_alerts:
            self._alerts.popitem(last=False)
        self._lines = len(lines)
        if corrupted:
            _log.warning("%s: %d corrupted lines were skipped", self._file, corrupted)
            self._is_stored = False  # the next line would be appended to a truncated one
        self.compact()

    def _apply(self, line: bytes) -> bool:
        """Apply a line of the file. Returns False if it is invalid."""
        checksum, _, text = line.partition(b" ")
        if checksum != _checksum(text):
            return False
        try:
            entry = json.loads(text)
            if "done" in entry:
                self._alerts.pop(entry["done"], None)
            else:
                alert = Alert(**entry["came"])
                self._alerts[alert.id] = alert
        except (ValueError, TypeError, KeyError):  # written by another version
            return False
        return True


def _added(alert: Alert) -> bytes:
    return _line({"came": {"id": alert.id, "change": alert.change, "event": dict(alert.event)}})


def _done(alert_id: str) -> bytes:
    return _line({"done": alert_id})


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()
    return _checksum(text) + b" " + text + b"\n"


def _checksum(text: bytes) -> bytes:
    return b"%08x" % zlib.crc32(text)


def _write(file: Path, lines: Iterable[bytes], mode: str, *, sync: bool = False) -> None:
    data = b"".join(lines)
    with open(file, mode, buffering=0) as opened:
        if opened.write(data) != len(data):  # a disk that fills up writes a part
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if sync:
            os.fsync(opened.fileno())
