"""News of events on disk while their database is away: append-only, bounded, synced.

A Journal belongs to one thread, the one that writes the event log; its length anybody may ask.
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

from stream.messages import Event, LoggedEvent, Recorded

News = LoggedEvent | Recorded
FILE = "journal.jsonl"


class Journal:
    """The journal of a data folder. It may hold what a former run left."""

    def __init__(
        self, folder: Path, *, most_changes: int = 100_000, most_bytes: int = 64_000_000
    ) -> None:
        self._file = folder / FILE
        self._most_changes, self._most_bytes = most_changes, most_bytes
        self._changes = self._bytes = 0
        self._added = most_changes  # since it was made smaller
        self._is_known = False
        self.unreadable = 0  # lines so far that were no news

    def __len__(self) -> int:
        """How many changes wait in it; 0 before it was first used."""
        return self._changes

    def look(self) -> None:
        """See what is there, and cut off a last line that was not written to its end.

        Raises OSError where the file can't be read.
        """
        if self._is_known:
            return
        self._changes = self._bytes = 0
        with contextlib.suppress(FileNotFoundError), self._file.open("r+b") as file:
            for line in file:
                if line.endswith(b"\n"):
                    self._changes += 1
                    self._bytes += len(line)
            file.truncate(self._bytes)
        self._is_known = True

    def append(self, news: Sequence[News], run: str) -> int:
        """Write news of a run; they are on the disk when this returns.

        Where it is full, only the latest news of each event are kept. Returns how many it could not
        take even so. Raises OSError, having written nothing, where the disk takes nothing.
        """
        self.look()
        lines = [_line(one, run) for one in news]
        if self._fits(lines):
            self._write(lines)
            return 0
        if self._added < self._most_changes // 10:  # again it would bring little, and take long
            return len(lines)
        with contextlib.ExitStack() as stack:
            there: Iterable[bytes] = ()
            if self._changes:
                there = stack.enter_context(self._file.open("rb"))
            latest = _latest_of_each(chain(there, lines))
        kept: list[bytes] = []
        size = 0
        for line in latest:
            if len(kept) >= self._most_changes or size + len(line) > self._most_bytes:
                break
            kept.append(line)
            size += len(line)
        self._replace(kept, size)
        return len(latest) - len(kept)

    def batches(self, most: int = 1000) -> Iterator[tuple[str, list[News]]]:
        """All that is in it, in order: news that belong to one run, with the run.

        Raises OSError where the file can't be read.
        """
        self.look()
        if not self._changes:
            return
        run, news = "", list[News]()
        with self._file.open("rb") as file:
            for line in file:
                try:
                    whose, one = _parsed(line)
                except (ValueError, KeyError, TypeError):
                    self.unreadable += 1
                    continue
                if news and (whose != run or len(news) >= most):
                    yield run, news
                    news = []
                run = whose
                news.append(one)
        if news:
            yield run, news

    def clear(self) -> None:
        """Forget it all: it is in the database. Raises OSError where the file can't be removed."""
        self._changes = self._bytes = 0
        self._added = self._most_changes
        self._file.unlink(missing_ok=True)

    def _fits(self, lines: list[bytes]) -> bool:
        size = self._bytes + sum(map(len, lines))
        return self._changes + len(lines) <= self._most_changes and size <= self._most_bytes

    def _write(self, lines: list[bytes]) -> None:
        is_new = not self._changes
        with self._file.open("wb" if is_new else "ab", buffering=0) as file:
            try:
                _write_all(file.fileno(), lines)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(self._bytes)
                raise
        if is_new:
            _sync_folder(self._file.parent)
        self._changes += len(lines)
        self._bytes += sum(map(len, lines))
        self._added += len(lines)

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
        self._changes, self._bytes, self._added = len(lines), size, 0


def latest_of_each(news: Iterable[News]) -> list[News]:
    """Without those that later news of the same event make superfluous."""
    found: dict[tuple[type, str], News] = {}
    for one in news:
        found[type(one), one.event_id if isinstance(one, Recorded) else one.event.id] = one
    return list(found.values())


def _latest_of_each(lines: Iterable[bytes]) -> list[bytes]:
    found: dict[tuple[bool, str], bytes] = {}
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            one = _parsed(line)[1]
            is_recorded = isinstance(one, Recorded)
            found[is_recorded, one.event_id if isinstance(one, Recorded) else one.event.id] = line
    return list(found.values())


def _line(one: News, run: str) -> bytes:
    values: dict[str, Any] = {"run": run}
    if isinstance(one, Recorded):
        values["recorded"] = asdict(one)
    else:
        values |= asdict(one) | {"began_utc": one.began_utc.isoformat()}
    return json.dumps(values).encode() + b"\n"


def _parsed(line: bytes) -> tuple[str, News]:
    values = json.loads(line)
    run = values.pop("run")
    if "recorded" in values:
        return run, Recorded(**values["recorded"])
    values["event"] = Event(**values["event"])
    values["began_utc"] = datetime.fromisoformat(values["began_utc"])
    return run, LoggedEvent(**values)


def _write_all(descriptor: int, lines: list[bytes]) -> None:
    left = memoryview(b"".join(lines))
    while left:  # a disk that gets full takes a part
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """So that a new name is there even after the power has failed."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
