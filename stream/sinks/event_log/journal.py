"""Event updates on disk while the database is unavailable: a bounded queue in the data folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from stream.messages import Event, EventMedia, LoggedEvent
from stream.runtime.sqlite_queue import SqliteQueue

EventUpdate = LoggedEvent | EventMedia
FILE = "journal.sqlite"


class Journal:
    """The journal of a data folder. It may hold updates of an earlier run.

    It holds the latest update of each event, and its media. Methods raise OSError if the file can't
    be used; then nothing has changed.
    """

    def __init__(
        self, folder: Path, *, max_updates: int = 100_000, max_bytes: int = 64_000_000
    ) -> None:
        self._queue = SqliteQueue(folder / FILE, max_items=max_updates, max_bytes=max_bytes)
        self._unreadable: set[int] = set()  # ids of items

    def __len__(self) -> int:
        """The number of updates; 0 before the first use."""
        return len(self._queue)

    @property
    def corrupted(self) -> int:
        """The number of updates and files that could not be read so far."""
        return self._queue.corrupted_files + len(self._unreadable)

    def recover(self) -> None:
        """Count the updates of an earlier run."""
        self._queue.oldest()

    def append(self, updates: Iterable[EventUpdate], run: str) -> int:
        """Write the updates of a run; they are synced to disk when this returns.

        Returns the number of updates that were lost because the journal is full.
        """
        return self._queue.append((_key(update), _text(update, run)) for update in updates)

    def batches(self, max_size: int = 1000) -> Iterator[tuple[str, list[EventUpdate]]]:
        """All updates in order, in batches that belong to one run, each with its run."""
        last = 0
        while items := self._queue.oldest(max_size, after=last):
            run, updates = "", list[EventUpdate]()
            for last, _, text in items:
                try:
                    one_run, update = _parse(text)
                except (ValueError, KeyError, TypeError):  # of another version
                    self._unreadable.add(last)
                    continue
                if updates and one_run != run:
                    yield run, updates
                    updates = []
                run = one_run
                updates.append(update)
            if updates:
                yield run, updates

    def clear(self) -> None:
        """Delete all updates, once the database has them."""
        self._queue.clear()

    def close(self) -> None:
        self._queue.close()


def latest_per_event(updates: Sequence[EventUpdate]) -> list[EventUpdate]:
    """The latest update of each event; a later update replaces earlier ones of its type."""
    return list({_key(update): update for update in updates}.values())


def _key(update: EventUpdate) -> str:
    if isinstance(update, EventMedia):
        return json.dumps(["media", update.event_id])
    return json.dumps(["event", update.event.id])


def _text(update: EventUpdate, run: str) -> str:
    values: dict[str, Any] = {"run": run}
    if isinstance(update, EventMedia):
        values["recorded"] = asdict(update)
    else:
        values |= asdict(update) | {"start_utc": update.start_utc.isoformat()}
    return json.dumps(values)


def _parse(text: str) -> tuple[str, EventUpdate]:
    values = json.loads(text)
    run = values.pop("run")
    if "recorded" in values:
        return run, EventMedia(**values["recorded"])
    values["event"] = Event(**values["event"])
    values["start_utc"] = datetime.fromisoformat(values["start_utc"])
    return run, LoggedEvent(**values)
