"""The event log of a data folder: writes, reviews and queries, in SQLite or Postgres.

Threads may share an EventLog: each call uses its own connection.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from stream.messages import EventMedia, LoggedEvent, Review
from stream.runtime.files import is_locked, locked, write_atomically
from stream.sinks.event_log.database import (
    DATABASE_FILE,
    FILE,
    MEDIA_COLUMNS,
    REVIEW_COLUMNS,
    SCHEMA_VERSION,
    EventLogError,
    UnknownEventError,
    connect,
    display_name,
    events_table,
    migrate,
    translate_errors,
    version_of,
)
from stream.sinks.event_log.journal import EventUpdate
from stream.sinks.event_log.query import ALL_EVENTS, EventQuery, conditions
from stream.sinks.event_log.rows import COLUMNS, as_row, iso

_LOCK_FILE = "events.lock"
_SITE_FILE = "site"  # holds the id of this folder in a shared database


class EventLog:
    """The events of all runs in one data folder. Several folders may share a Postgres database.

    `EventLog.create` opens it for a run, which locks the folder, and closes events that an earlier
    run left open. `EventLog.open` opens an existing log, with or without a run beside it.
    """

    def __init__(
        self, folder: Path, engine: sa.Engine, name: str, *, previous_start: float | None = None
    ) -> None:
        self.run = uuid.uuid4().hex  # the id of this run, if it is one
        self.previous_start = previous_start  # of the previous run, seconds since 1970, or None
        self._folder, self._engine, self._name = folder, engine, name
        self._writer = engine.execution_options(begin="IMMEDIATE")  # see `connect`
        self._resources = ExitStack()  # the engine, and a run's lock of the folder
        self._is_run = False
        self._site = _read_text(folder / _SITE_FILE)
        is_sqlite = engine.dialect.name == "sqlite"
        # All events of a file are ours, even if it was copied here without its `site` file.
        self._ours = sa.true() if is_sqlite else events_table.c.site == self._site
        insert = (sqlite.insert if is_sqlite else postgresql.insert)(events_table)
        unchanged = {"id", "run", "site", *MEDIA_COLUMNS, *REVIEW_COLUMNS}
        self._upsert = insert.on_conflict_do_update(
            index_elements=["id"],
            set_={
                column.name: column for column in insert.excluded if column.name not in unchanged
            },
            # A late duplicate must not reopen a closed event.
            where=sa.or_(
                events_table.c.end.is_(None),
                events_table.c.closed_by == "crash",
                insert.excluded.end.is_not(None),
            ),
        )

    @classmethod
    def create(
        cls, folder: Path, database: str | None = None, *, lock_timeout_s: float = 1.0
    ) -> EventLog:
        """Open the log of a folder for a run; creates both if they don't exist.

        `database` is a Postgres URL, which is stored in the folder for later runs; without one the
        log is an SQLite file. A write waits at most `lock_timeout_s` for a lock. Raises
        EventLogError.
        """
        database = database or _read_text(folder / DATABASE_FILE) or None
        name, lock_file = display_name(folder, database), folder / _LOCK_FILE
        with ExitStack() as stack, translate_errors(name):
            folder.mkdir(parents=True, exist_ok=True)
            previous = lock_file.stat().st_mtime if lock_file.exists() else None
            if not stack.enter_context(locked(lock_file)):
                raise EventLogError(f"another run is writing to {folder}; give another folder")
            os.utime(lock_file)  # the next run reads the start of this one from it
            if not _read_text(folder / _SITE_FILE):
                write_atomically(folder / _SITE_FILE, f"{uuid.uuid4().hex}\n")
            engine = connect(folder, database, lock_timeout_s)
            stack.callback(engine.dispose)
            migrate(engine, name)
            log = cls(folder, engine, name, previous_start=previous)
            log.close_crashed()
            if database is not None:
                # It may hold a password.
                write_atomically(folder / DATABASE_FILE, f"{database}\n", private=True)
            log._resources, log._is_run = stack.pop_all(), True
        return log

    @classmethod
    def open(cls, folder: Path, database: str | None = None) -> EventLog:
        """Open an existing log to read, review and delete its events.

        Without `database`, uses the one stored in the folder. Raises EventLogError, naming the
        file, if the log is missing or damaged.
        """
        database = database or _read_text(folder / DATABASE_FILE) or None
        if database is None and not (folder / FILE).is_file():
            raise EventLogError(
                f"no event log in {folder}: {FILE} is missing; give the folder of a run"
            )
        name = display_name(folder, database)
        with ExitStack() as stack, translate_errors(name):
            engine = connect(folder, database, lock_timeout_s=10.0)
            stack.callback(engine.dispose)
            with engine.begin() as connection:
                version = version_of(connection)
            if not version:
                raise EventLogError(f"no event log in {name} yet; give the folder of a run")
            if version < SCHEMA_VERSION and is_locked(folder / _LOCK_FILE):
                raise EventLogError(f"an older Actionwatch is writing to {folder}; stop it first")
            if version != SCHEMA_VERSION:
                migrate(engine, name)
            log = cls(folder, engine, name)
            log._resources = stack.pop_all()
        return log

    def write_updates(
        self, updates: Sequence[EventUpdate], *, run: str | None = None
    ) -> list[EventMedia]:
        """Write event updates in one transaction. Writing the same updates twice is harmless.

        `run` is the run that made them, by default this one. Returns the media of events that are
        no longer in the log. On an error nothing is written: raises RejectedUpdateError if the
        database can never store an update, EventLogError if a retry may help.
        """
        events = {one.event.id: one for one in updates if isinstance(one, LoggedEvent)}
        media = {one.event_id: one for one in updates if isinstance(one, EventMedia)}
        owner = {"run": run or self.run, "site": self._site}
        rows = [as_row(one) | owner | _latest(one) for one in events.values()]
        orphaned_media: list[EventMedia] = []
        with translate_errors(self._name), self._writer.begin() as connection:
            if rows:
                connection.execute(self._upsert, rows)
            for one in media.values():
                values = {
                    "clip": one.clip,
                    "snapshot": one.snapshot,
                    "clip_note": one.note,
                    "clip_start_s": one.clip_start_s,
                }
                where = events_table.c.id == one.event_id
                result = connection.execute(events_table.update().where(where).values(values))
                if not result.rowcount:
                    orphaned_media.append(one)
        return orphaned_media

    def rows(self, query: EventQuery = ALL_EVENTS) -> Iterator[dict[str, Any]]:
        """Events as dictionaries with the keys COLUMNS, by start time.

        If no run is writing to the log, an open event was interrupted by a crash and ends where it
        was last seen. Raises EventLogError if the log is damaged.
        """
        return self._rows(self._select(query).order_by(events_table.c.start, events_table.c.id))

    def page(
        self, query: EventQuery = ALL_EVENTS, limit: int = 50, offset: int = 0
    ) -> list[dict[str, Any]]:
        """At most `limit` events as from `rows`, newest first, after the first `offset`."""
        newest_first = (events_table.c.start.desc(), events_table.c.id.desc())
        statement = self._select(query).order_by(*newest_first).limit(limit).offset(offset)
        return list(self._rows(statement))

    def count(self, query: EventQuery = ALL_EVENTS) -> int:
        statement = sa.select(sa.func.count()).select_from(events_table)
        with translate_errors(self._name), self._engine.connect() as connection:
            return connection.execute(statement.where(self._ours, *conditions(query))).scalar_one()

    def event(self, event_id: str) -> dict[str, Any] | None:
        """One event as from `rows`, None for an unknown id."""
        statement = sa.select(events_table).where(self._ours, events_table.c.id == event_id)
        rows = list(self._rows(statement))
        return rows[0] if rows else None

    def labels(self) -> list[str]:
        """All labels of events, from the model and from reviewers, sorted."""
        return self._values(events_table.c.label, events_table.c.corrected)

    def cameras(self) -> list[str]:
        """All cameras and zones with events, sorted."""
        return self._values(events_table.c.camera)

    def review(self, event_id: str, review: Review, now_utc: datetime) -> None:
        """Store a review of an event, beside the model's label; replaces an earlier review.

        Raises UnknownEventError.
        """
        self.update_review(event_id, lambda _: review, now_utc)

    def update_review(
        self, event_id: str, change: Callable[[Review], Review], now_utc: datetime
    ) -> None:
        """Replace the review of an event by `change(review)`, atomically.

        Raises UnknownEventError, and what `change` raises.
        """
        where = sa.and_(self._ours, events_table.c.id == event_id)
        columns = (events_table.c[name] for name in ("verdict", "corrected", "note", "reviewed_by"))
        current = sa.select(*columns).where(where).with_for_update()
        with translate_errors(self._name), self._writer.begin() as connection:
            row = connection.execute(current).first()
            if row is None:
                raise UnknownEventError(
                    f"event {event_id} is not in {self._name}; list the events again"
                )
            values = _review_values(change(Review(*row)), now_utc)
            connection.execute(events_table.update().where(where).values(values))

    def delete(self, ids: Iterable[str]) -> None:
        """Delete events; their media files stay."""
        remaining = list(ids)
        while remaining:
            # In batches, so that a run's own updates don't wait for long.
            batch, remaining = remaining[:500], remaining[500:]
            self._execute(events_table.delete().where(events_table.c.id.in_(batch)))

    def close_crashed(self) -> None:
        """Close events that killed runs left open, where they were last seen."""
        left_open = sa.and_(
            self._ours, events_table.c.end.is_(None), events_table.c.run != self.run
        )
        end = {"end": events_table.c.latest, "end_s": events_table.c.latest_s, "closed_by": "crash"}
        self._execute(events_table.update().where(left_open).values(end))

    def close(self) -> None:
        self._resources.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _select(self, query: EventQuery) -> sa.Select[Any]:
        return sa.select(events_table).where(self._ours, *conditions(query))

    def _rows(self, statement: sa.Select[Any]) -> Iterator[dict[str, Any]]:
        crashed = not self._is_run and not is_locked(self._folder / _LOCK_FILE)
        with translate_errors(self._name), self._engine.connect() as connection:
            for row in connection.execute(statement).mappings():
                values = {name: row[name] for name in COLUMNS}
                if crashed and row["end"] is None:
                    values |= {"end": row["latest"], "end_s": row["latest_s"], "closed_by": "crash"}
                yield values

    def _values(self, *columns: sa.ColumnClause[Any]) -> list[str]:
        """The distinct values of columns, sorted, without the empty string."""
        values: set[str] = set()
        with translate_errors(self._name), self._engine.connect() as connection:
            for column in columns:
                distinct = sa.select(column).where(self._ours, column != "").distinct()
                values |= set(connection.execute(distinct).scalars())
        return sorted(values)

    def _execute(self, statement: sa.Delete | sa.Update) -> None:
        with translate_errors(self._name), self._writer.begin() as connection:
            connection.execute(statement)


def _review_values(review: Review, now_utc: datetime) -> dict[str, str]:
    has_content = review != Review(by=review.by)  # else the review is undone
    return {
        "verdict": review.verdict,
        "corrected": review.corrected,
        "note": review.note,
        "reviewed_by": review.by if has_content else "",
        "reviewed_at": iso(now_utc) if has_content else "",
    }


def _latest(one: LoggedEvent) -> dict[str, Any]:
    return {"latest": iso(one.utc(one.event.latest_s)), "latest_s": one.event.latest_s}


def _read_text(file: Path) -> str:
    """The content of a small file, "" if it doesn't exist."""
    with translate_errors(str(file)):
        return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
