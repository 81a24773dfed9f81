"""Event updates on disk while the database is unavailable: append-only, bounded, synced.

A Journal belongs to one thread, the event log's writer; any thread may read its length.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from stream.messages import Event, EventMedia, LoggedEvent

EventUpdate = LoggedEvent | EventMedia
FILE = "journal.jsonl"


class Journal:
    """The journal of a data folder. It may hold updates of an earlier run."""

    def __init__(
        self, folder: Path, *, max_updates: int = 100_000, max_bytes: int = 64_000_000
    ) -> None:
        self._file = folder / FILE
        self._max_updates, self._max_bytes = max_updates, max_bytes
        self._updates = self._bytes = 0
        self._appended = max_updates  # since the last compaction
        self._is_recovered = False
        self.corrupted_lines = 0  # found so far

    def __len__(self) -> int:
        """The number of updates; 0 before the first use."""
        return self._updates

    def recover(self) -> None:
        """Count the updates of an earlier run, and cut off an incomplete last line.

        Raises OSError if the file can't be read.
        """
        if self._is_recovered:
            return
        self._updates = self._bytes = 0
        with contextlib.suppress(FileNotFoundError), self._file.open("r+b") as file:
            for line in file:
                if line.endswith(b"\n"):
                    self._updates += 1
                    self._bytes += len(line)
            file.truncate(self._bytes)
        self._is_recovered = True

    def append(self, updates: Sequence[EventUpdate], run: str) -> int:
        """Write the updates of a run; they are synced to disk when this returns.

        A full journal is compacted to the latest update of each event. Returns the number of
        updates that were lost because it was full even so. On an error nothing is written: raises
        OSError if the disk accepts no data.
        """
        self.recover()
        lines = [_line(update, run) for update in updates]
        if self._fits(lines):
            self._write(lines)
            return 0
        if self._appended < self._max_updates // 10:  # compacting again would free little space
            return len(lines)
        with contextlib.ExitStack() as stack:
            existing: Iterable[bytes] = ()
            if self._updates:
                existing = stack.enter_context(self._file.open("rb"))
            latest = _latest_line_per_event(chain(existing, lines))
        fitting: list[bytes] = []
        size = 0
        for line in latest:
            if len(fitting) >= self._max_updates or size + len(line) > self._max_bytes:
                break
            fitting.append(line)
            size += len(line)
        self._replace(fitting, size)
        return len(latest) - len(fitting)

    def batches(self, max_size: int = 1000) -> Iterator[tuple[str, list[EventUpdate]]]:
        """All updates in order, in batches that belong to one run, each with its run.

        Raises OSError if the file can't be read.
        """
        self.recover()
        if not self._updates:
            return
        run, updates = "", list[EventUpdate]()
        with self._file.open("rb") as file:
            for line in file:
                try:
                    line_run, update = _parse(line)
                except (ValueError, KeyError, TypeError):
                    self.corrupted_lines += 1
                    continue
                if updates and (line_run != run or len(updates) >= max_size):
                    yield run, updates
                    updates = []
                run = line_run
                updates.append(update)
        if updates:
            yield run, updates

    def clear(self) -> None:
        """Delete all updates, once the database has them. Raises OSError."""
        self._updates = self._bytes = 0
        self._appended = self._max_updates
        self._file.unlink(missing_ok=True)

    def _fits(self, lines: list[bytes]) -> bool:
        size = self._bytes + sum(map(len, lines))
        return self._updates + len(lines) <= self._max_updates and size <= self._max_bytes

    def _write(self, lines: list[bytes]) -> None:
        is_new = not self._updates
        with self._file.open("wb" if is_new else "ab", buffering=0) as file:
            try:
                _write_all(file.fileno(), lines)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(self._bytes)
                raise
        if is_new:
            _sync_folder(self._file.parent)
        self._updates += len(lines)
        self._bytes += sum(map(len, lines))
        self._appended += len(lines)

    def _replace(self, lines: list[bytes], size: int) -> None:
        new = self._file.with_name(f"{FILE}.new")
        try:
            with new.open("wb", buffering=0) as file:
                _write_all(file.fileno(), lines)
            new.replace(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise
        _sync_folder(self._file.parent)
        self._updates, self._bytes, self._appended = len(lines), size, 0


def latest_per_event(updates: Iterable[EventUpdate]) -> list[EventUpdate]:
    """The latest update of each event; a later update replaces earlier ones of its type."""
    latest: dict[tuple[type, str], EventUpdate] = {}
    for one in updates:
        latest[type(one), one.event_id if isinstance(one, EventMedia) else one.event.id] = one
    return list(latest.values())


def _latest_line_per_event(lines: Iterable[bytes]) -> list[bytes]:
    latest: dict[tuple[bool, str], bytes] = {}
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            one = _parse(line)[1]
            is_media = isinstance(one, EventMedia)
            latest[is_media, one.event_id if isinstance(one, EventMedia) else one.event.id] = line
    return list(latest.values())


def _line(update: EventUpdate, run: str) -> bytes:
    values: dict[str, Any] = {"run": run}
    if isinstance(update, EventMedia):
        values["recorded"] = asdict(update)
    else:
        values |= asdict(update) | {"start_utc": update.start_utc.isoformat()}
    return json.dumps(values).encode() + b"\n"


def _parse(line: bytes) -> tuple[str, EventUpdate]:
    values = json.loads(line)
    run = values.pop("run")
    if "recorded" in values:
        return run, EventMedia(**values["recorded"])
    values["event"] = Event(**values["event"])
    values["start_utc"] = datetime.fromisoformat(values["start_utc"])
    return run, LoggedEvent(**values)


def _write_all(descriptor: int, lines: list[bytes]) -> None:
    remaining = memoryview(b"".join(lines))
    while remaining:  # a nearly full disk may accept only a part
        remaining = remaining[os.write(descriptor, remaining) :]
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that a new file name survives a power failure."""
    with contextlib.suppress(OSError):  # Windows can't open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
