"""The event log of a data folder: schema, write, query. In SQLite there, or in Postgres.

Threads may share an EventLog: each has a connection of its own while it needs one.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from stream.messages import LoggedEvent, Recorded, Review
from stream.runtime.files import take
from stream.sinks.event_log.database import (
    DATABASE_FILE,
    FILE,
    RECORDED,
    REVIEWED,
    SCHEMA_VERSION,
    EventLogError,
    UnknownEventError,
    connect,
    events_table,
    explained,
    migrate,
    place_of,
    version_of,
)
from stream.sinks.event_log.journal import News
from stream.sinks.event_log.query import EVERY, EventQuery, conditions
from stream.sinks.event_log.rows import COLUMNS, as_row, iso

_LOCK_FILE = "events.lock"
_SITE_FILE = "site"  # holds the id by which a database that many share knows this folder


class EventLog:
    """Events of all runs into one data folder, even where its database has those of others too.

    `EventLog.create` opens it for a run, which then holds the folder alone, and closes what an
    earlier run left open; `EventLog.open` opens a log that exists, beside a run or without one.
    """

    def __init__(
        self, folder: Path, engine: sa.Engine, place: str, *, former_start: float | None = None
    ) -> None:
        self.run = uuid.uuid4().hex  # the name of this run, if it is one
        self.former_start = former_start  # of the run before this one: seconds since 1970, or None
        self._folder, self._engine, self._place = folder, engine, place
        self._writer = engine.execution_options(begin="IMMEDIATE")  # see _engine
        self._resources = ExitStack()  # the engine, and the lock for as long as this run may write
        self._is_run = False
        self._site = _text(folder / _SITE_FILE)
        in_file = engine.dialect.name == "sqlite"
        # A file is all ours, even if it was copied here without the rest of its folder.
        self._ours = sa.true() if in_file else events_table.c.site == self._site
        insert = (sqlite.insert if in_file else postgresql.insert)(events_table)
        kept = {"id", "run", "site", *RECORDED, *REVIEWED}
        self._upsert = insert.on_conflict_do_update(
            index_elements=["id"],
            set_={column.name: column for column in insert.excluded if column.name not in kept},
            # What is told again, late, doesn't open what is closed.
            where=sa.or_(
                events_table.c.end.is_(None),
                events_table.c.closed_by == "crash",
                insert.excluded.end.is_not(None),
            ),
        )

    @classmethod
    def create(
        cls, folder: Path, database: str | None = None, *, patience_s: float = 1.0
    ) -> EventLog:
        """Open the log of a folder for writing, making both where they don't exist.

        `database` is an address of Postgres, which the folder remembers; without one it is a file.
        A write waits for others for `patience_s`. Raises EventLogError where that can't be done.
        """
        database = database or _text(folder / DATABASE_FILE) or None
        place, lock_file = place_of(folder, database), folder / _LOCK_FILE
        with ExitStack() as stack, explained(place):
            folder.mkdir(parents=True, exist_ok=True)
            former = lock_file.stat().st_mtime if lock_file.exists() else None
            lock = stack.enter_context(lock_file.open("a", encoding="utf-8"))
            if not take(lock):
                raise EventLogError(f"another run is writing to {folder}; give another folder")
            os.utime(lock_file)  # tells the next run when this one began
            if not _text(folder / _SITE_FILE):
                _put(folder / _SITE_FILE, uuid.uuid4().hex, 0o666)
            engine = connect(folder, database, patience_s)
            stack.callback(engine.dispose)
            migrate(engine, place)
            log = cls(folder, engine, place, former_start=former)
            log.close_crashed()
            if database is not None:
                _put(folder / DATABASE_FILE, database, 0o600)  # it may hold a password
            log._resources, log._is_run = stack.pop_all(), True
        return log

    @classmethod
    def open(cls, folder: Path, database: str | None = None) -> EventLog:
        """Open the log of a folder to read it, to review its events, and to delete them.

        Without `database` it is the one that the folder remembers. Raises EventLogError, naming
        the file, where there is none or it is damaged.
        """
        database = database or _text(folder / DATABASE_FILE) or None
        if database is None and not (folder / FILE).is_file():
            raise EventLogError(
                f"no event log in {folder}: {FILE} is missing; give the folder of a run"
            )
        place = place_of(folder, database)
        with ExitStack() as stack, explained(place):
            engine = connect(folder, database, waits_s=10.0)
            stack.callback(engine.dispose)
            with engine.begin() as connection:
                version = version_of(connection)
            if not version:
                raise EventLogError(f"no event log in {place} yet; give the folder of a run")
            if version < SCHEMA_VERSION and _is_held(folder / _LOCK_FILE):
                raise EventLogError(f"an older Actionwatch is writing to {folder}; stop it first")
            if version != SCHEMA_VERSION:
                migrate(engine, place)
            log = cls(folder, engine, place)
            log._resources = stack.pop_all()
        return log

    def save(self, news: Sequence[News], *, run: str | None = None) -> list[Recorded]:
        """Write news in one transaction; the same news twice change nothing.

        `run` is the run that made them, if it is not this one. Raises NewsRefusedError for news
        that can't be written ever, EventLogError if not now; nothing is written then.
        Returns what was recorded of events that are in the log no more.
        """
        events = {one.event.id: one for one in news if isinstance(one, LoggedEvent)}
        recorded = {one.event_id: one for one in news if isinstance(one, Recorded)}
        ours = {"run": run or self.run, "site": self._site}
        rows = [as_row(one) | ours | _latest(one) for one in events.values()]
        unclaimed: list[Recorded] = []
        with explained(self._place), self._writer.begin() as connection:
            if rows:
                connection.execute(self._upsert, rows)
            for one in recorded.values():
                values = {
                    "clip": one.clip,
                    "snapshot": one.snapshot,
                    "clip_note": one.note,
                    "clip_start_s": one.clip_start_s,
                }
                where = events_table.c.id == one.event_id
                found = connection.execute(events_table.update().where(where).values(values))
                if not found.rowcount:
                    unclaimed.append(one)
        return unclaimed

    def rows(self, query: EventQuery = EVERY) -> Iterator[dict[str, Any]]:
        """Events as dictionaries with the keys COLUMNS, in the order of their starts.

        An event that is open in a log to which nobody writes any more was cut off by a crash, and
        ends where it was last seen. Raises EventLogError where the log is damaged.
        """
        return self._rows(self._select(query).order_by(events_table.c.start, events_table.c.id))

    def page(
        self, query: EventQuery = EVERY, limit: int = 50, offset: int = 0
    ) -> list[dict[str, Any]]:
        """So many events as `rows` gives them, the newest first, after the first `offset`."""
        newest_first = (events_table.c.start.desc(), events_table.c.id.desc())
        chosen = self._select(query).order_by(*newest_first).limit(limit).offset(offset)
        return list(self._rows(chosen))

    def count(self, query: EventQuery = EVERY) -> int:
        """How many events there are."""
        found = sa.select(sa.func.count()).select_from(events_table)
        with explained(self._place), self._engine.connect() as connection:
            return connection.execute(found.where(self._ours, *conditions(query))).scalar_one()

    def event(self, event_id: str) -> dict[str, Any] | None:
        """One event as `rows` gives it, None where there is none with that id."""
        one = sa.select(events_table).where(self._ours, events_table.c.id == event_id)
        found = list(self._rows(one))
        return found[0] if found else None

    def labels(self) -> list[str]:
        """The labels that occur, as the model said and as people corrected them, sorted."""
        return self._values(events_table.c.label, events_table.c.corrected)

    def cameras(self) -> list[str]:
        """The cameras of which there are events, and their zones, sorted."""
        return self._values(events_table.c.camera)

    def review(self, event_id: str, review: Review, now_utc: datetime) -> None:
        """Keep what a person says of an event, beside what the model said.

        It takes the place of what was said before. Raises UnknownEventError where there is no such
        event.
        """
        self.revise(event_id, lambda _: review, now_utc)

    def revise(self, event_id: str, change: Callable[[Review], Review], now_utc: datetime) -> None:
        """`review`, with what people said before turned into what they say now.

        Nobody else can say something in between. What `change` raises, this raises.
        """
        where = sa.and_(self._ours, events_table.c.id == event_id)
        columns = (events_table.c[name] for name in ("verdict", "corrected", "note", "reviewed_by"))
        before = sa.select(*columns).where(where).with_for_update()
        with explained(self._place), self._writer.begin() as connection:
            found = connection.execute(before).first()
            if found is None:
                raise UnknownEventError(f"event {event_id} is not in {self._place}; list it anew")
            values = _reviewed(change(Review(*found)), now_utc)
            connection.execute(events_table.update().where(where).values(values))

    def delete(self, ids: Iterable[str]) -> None:
        """Remove events; what was recorded of them stays."""
        left = list(ids)
        while left:
            some, left = left[:500], left[500:]  # a run's own news must not wait for long
            self._change(events_table.delete().where(events_table.c.id.in_(some)))

    def forget_run(self, run: str) -> None:
        """Remove all events of a run."""
        self._change(events_table.delete().where(events_table.c.run == run))

    def close_crashed(self) -> None:
        """Close what earlier runs left open, which were killed. When it ended nobody saw."""
        left_open = sa.and_(
            self._ours, events_table.c.end.is_(None), events_table.c.run != self.run
        )
        end = {"end": events_table.c.latest, "end_s": events_table.c.latest_s, "closed_by": "crash"}
        self._change(events_table.update().where(left_open).values(end))

    def close(self) -> None:
        self._resources.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _select(self, query: EventQuery) -> sa.Select[Any]:
        return sa.select(events_table).where(self._ours, *conditions(query))

    def _rows(self, chosen: sa.Select[Any]) -> Iterator[dict[str, Any]]:
        crashed = not self._is_run and not _is_held(self._folder / _LOCK_FILE)
        with explained(self._place), self._engine.connect() as connection:
            for row in connection.execute(chosen).mappings():
                values = {name: row[name] for name in COLUMNS}
                if crashed and row["end"] is None:
                    values |= {"end": row["latest"], "end_s": row["latest_s"], "closed_by": "crash"}
                yield values

    def _values(self, *columns: sa.ColumnClause[Any]) -> list[str]:
        """What occurs in columns, but for what is empty."""
        found: set[str] = set()
        with explained(self._place), self._engine.connect() as connection:
            for column in columns:
                some = sa.select(column).where(self._ours, column != "").distinct()
                found |= set(connection.execute(some).scalars())
        return sorted(found)

    def _change(self, statement: sa.Delete | sa.Update) -> int:
        """How many rows it changed."""
        with explained(self._place), self._writer.begin() as connection:
            return connection.execute(statement).rowcount


def _reviewed(review: Review, now_utc: datetime) -> dict[str, str]:
    said = review != Review(by=review.by)  # else all is taken back
    return {
        "verdict": review.verdict,
        "corrected": review.corrected,
        "note": review.note,
        "reviewed_by": review.by if said else "",
        "reviewed_at": iso(now_utc) if said else "",
    }


def _latest(one: LoggedEvent) -> dict[str, Any]:
    return {"latest": iso(one.utc(one.event.latest_s)), "latest_s": one.event.latest_s}


def _is_held(file: Path) -> bool:
    with suppress(OSError), file.open(encoding="utf-8") as lock:
        return not take(lock)
    return False


def _text(file: Path) -> str:
    """What a small file holds, "" where there is none."""
    with explained(str(file)):
        return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def _put(file: Path, text: str, mode: int) -> None:
    """Write a small file, whole or not at all."""
    new = file.with_name(f"{file.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as opened:
        opened.write(f"{text}\n")
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
