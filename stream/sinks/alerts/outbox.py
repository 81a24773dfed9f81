"""Alerts that wait to be delivered, in memory and on disk; safe for use by threads.

While the process lives, its memory is what counts; the file is for the next one. Each of its lines
says that an alert came or that it is done with, behind a checksum: what a crash tore is left out.
Nothing is open between two calls.
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
_MOST = 10_000  # alerts, of about 700 bytes
_SPARE_LINES = 1000  # that the file may hold beyond what waits before it is written anew
_TRY_AGAIN_S = 10.0  # to write the file, where the disk took nothing


class Outbox:
    """A bounded queue of alerts, oldest first."""

    def __init__(
        self,
        file: Path,
        *,
        most: int = _MOST,
        spare_lines: int = _SPARE_LINES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._most, self._spare_lines, self._now = file, most, spare_lines, now
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, Alert] = OrderedDict()
        self._lines = 0  # in the file
        self._is_kept = True  # the file knows all that waits
        self._is_synced = True
        self._meanwhile: list[bytes] | None = None  # what comes while the file is written anew
        self._try_at = now()
        self._load()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, alert: Alert) -> Alert | None:
        """Add an alert. Returns the oldest one if that had to go for it."""
        with self._lock:
            if alert.id in self._waiting:
                return None
            dropped, lines = None, [_came(alert)]
            if len(self._waiting) >= self._most:
                _, dropped = self._waiting.popitem(last=False)
                lines.insert(0, _done(dropped.id))
            self._waiting[alert.id] = alert
            self._append(lines)
            return dropped

    def oldest(self) -> Alert | None:
        with self._lock:
            return next(iter(self._waiting.values()), None)

    def done(self, alert: Alert) -> None:
        """It is delivered, or will never be."""
        with self._lock:
            if self._waiting.pop(alert.id, None) is not None:
                self._append([_done(alert.id)])

    def sync(self) -> None:
        """Bring what waits to the disk itself, so that it is there even after the power fails."""
        if self._is_synced or not self._is_kept:
            return
        self._is_synced = True
        with contextlib.suppress(OSError), self._file.open("ab") as file:
            os.fsync(file.fileno())

    def tidy(self) -> None:
        """Write the file anew where most of it is done with, or where it lacks something.

        By one thread only. Others don't wait for the disk meanwhile.
        """
        with self._lock:
            has_room = self._lines <= 2 * len(self._waiting) + self._spare_lines
            if self._now() < self._try_at or (self._is_kept and has_room):
                return
            self._try_at = self._now() + _TRY_AGAIN_S
            waiting = list(self._waiting.values())
            self._meanwhile = []
        new = self._file.with_name(self._file.name + ".part")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            _write(new, map(_came, waiting), "wb", sync=True)
            with self._lock:
                _write(new, self._meanwhile, "ab")
                new.replace(self._file)
                self._lines = len(waiting) + len(self._meanwhile)
                if not self._is_kept:
                    _log.warning("%s is written again", self._file)
                self._is_kept, self._try_at = True, self._now()
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            _log.debug("%s can't be written anew: %s", self._file, error.strerror)
        finally:
            with self._lock:
                self._meanwhile = None

    def _append(self, lines: list[bytes]) -> None:
        """Write lines behind the others. A process that is killed has written what it wrote."""
        if self._meanwhile is not None:
            self._meanwhile += lines
        if not self._is_kept:
            return
        try:
            _write(self._file, lines, "ab")
        except OSError as error:
            self._is_kept = False
            self._try_at = self._now() + _TRY_AGAIN_S
            _log.error(
                "%s can't be written (%s): alerts wait in memory only, and are lost if this "
                "process ends; mend the disk",
                self._file,
                error.strerror,
            )
        self._lines += len(lines)
        self._is_synced = False

    def _load(self) -> None:
        """What a former process left."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            content = self._file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.error("%s can't be read (%s): what waited is left out", self._file, error.strerror)
            self._is_kept = False
            return
        *lines, rest = content.split(b"\n")
        damaged = int(bool(rest))
        for line in lines:
            damaged += not self._read(line)
        while len(self._waiting) > self._most:
            self._waiting.popitem(last=False)
        self._lines = len(lines)
        if damaged:
            _log.warning("%s: %d damaged lines were left out", self._file, damaged)
            self._is_kept = False  # what would be appended might follow half a line
        self.tidy()

    def _read(self, line: bytes) -> bool:
        """Do what a line says. False where it can't be read."""
        checksum, _, text = line.partition(b" ")
        if checksum != _checksum(text):
            return False
        try:
            said = json.loads(text)
            if "done" in said:
                self._waiting.pop(said["done"], None)
            else:
                alert = Alert(**said["came"])
                self._waiting[alert.id] = alert
        except (ValueError, TypeError, KeyError):  # of another version
            return False
        return True


def _came(alert: Alert) -> bytes:
    return _line({"came": {"id": alert.id, "change": alert.change, "event": dict(alert.event)}})


def _done(alert_id: str) -> bytes:
    return _line({"done": alert_id})


def _line(said: dict[str, Any]) -> bytes:
    text = json.dumps(said, separators=(",", ":")).encode()
    return _checksum(text) + b" " + text + b"\n"


def _checksum(text: bytes) -> bytes:
    return b"%08x" % zlib.crc32(text)


def _write(file: Path, lines: Iterable[bytes], mode: str, *, sync: bool = False) -> None:
    data = b"".join(lines)
    with open(file, mode, buffering=0) as opened:
        if opened.write(data) != len(data):  # a disk that gets full takes a part
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if sync:
            os.fsync(opened.fileno())
