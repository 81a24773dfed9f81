"""The event log of a data folder: schema, write, query. In SQLite there, or in Postgres.

Threads may share an EventLog: each has a connection of its own while it needs one.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from stream.event_rows import COLUMNS, as_row, iso
from stream.journal import News
from stream.messages import LoggedEvent, Recorded

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FILE = "events.sqlite"
_LOCK_FILE = "events.lock"
_SITE_FILE = "site"  # holds the id by which a database that many share knows this folder
_DATABASE_FILE = "database"  # holds the address of the database, where it is not FILE
_RECORDED = ("clip", "snapshot", "clip_note")  # only Recorded changes these
_REFUSED = (sa.exc.DataError, sa.exc.IntegrityError, UnicodeError)
_FIXES = {  # by what a place or reason holds
    "://": f"mend that, or remove the data folder's file {_DATABASE_FILE!r} to log into a file",
    "is full": "make room on its disk",
    "is locked": "end the program that holds it",
    "": "restore it, or give another folder with --data",
}
_events = sa.table("events", *map(sa.column, (*COLUMNS, "run", "site", "latest", "latest_s")))
_version = sa.table("actionwatch_schema", sa.column("version"))

# Each step leads to the version of its number, in both databases. A new log takes all of them.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        # UTC is ISO 8601 with milliseconds and Z; names that end in _s are seconds since the source
        # began. `end` is NULL while the event is open, `latest` how far it was seen to go on.
        """CREATE TABLE events (
            id VARCHAR(32) NOT NULL PRIMARY KEY, run VARCHAR(32) NOT NULL, camera VARCHAR NOT NULL,
            label VARCHAR NOT NULL, start VARCHAR NOT NULL, "end" VARCHAR, start_s FLOAT NOT NULL,
            end_s FLOAT, latest VARCHAR NOT NULL, latest_s FLOAT NOT NULL, peak FLOAT NOT NULL,
            mean FLOAT NOT NULL, model VARCHAR NOT NULL, closed_by VARCHAR NOT NULL)""",
        "CREATE INDEX ix_events_start ON events (start)",
    ),
    (
        "CREATE TABLE actionwatch_schema (version INTEGER NOT NULL)",
        "INSERT INTO actionwatch_schema VALUES (2)",
        *(
            f"ALTER TABLE events ADD COLUMN {name} VARCHAR NOT NULL DEFAULT ''"
            for name in ("site", "detected_at", *_RECORDED)
        ),
        "ALTER TABLE events ADD COLUMN detected_s FLOAT NOT NULL DEFAULT 0",
        "ALTER TABLE events ADD COLUMN peak_s FLOAT NOT NULL DEFAULT 0",
        # The best guess for events of which nobody noted it.
        "UPDATE events SET detected_at = start, detected_s = start_s, peak_s = start_s",
        "CREATE INDEX ix_events_camera_start ON events (camera, start)",
    ),
)
SCHEMA_VERSION = len(_STEPS)


class EventLogError(Exception):
    """A log that can't be opened, read or written. The message is one line for a person."""


class NewsRefusedError(EventLogError):
    """News that the database will never take, however often it is asked."""


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
        self._ours = sa.true() if in_file else _events.c.site == self._site
        insert = (sqlite.insert if in_file else postgresql.insert)(_events)
        kept = {"id", "run", "site", *_RECORDED}
        self._upsert = insert.on_conflict_do_update(
            index_elements=["id"],
            set_={column.name: column for column in insert.excluded if column.name not in kept},
            # What is told again, late, doesn't open what is closed.
            where=sa.or_(
                _events.c.end.is_(None),
                _events.c.closed_by == "crash",
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
        database = database or _text(folder / _DATABASE_FILE) or None
        place, lock_file = _place(folder, database), folder / _LOCK_FILE
        with ExitStack() as stack, _explained(place):
            folder.mkdir(parents=True, exist_ok=True)
            former = lock_file.stat().st_mtime if lock_file.exists() else None
            lock = stack.enter_context(lock_file.open("a", encoding="utf-8"))
            if not _take(lock):
                raise EventLogError(f"another run is writing to {folder}; give another with --data")
            os.utime(lock_file)  # tells the next run when this one began
            if not _text(folder / _SITE_FILE):
                _put(folder / _SITE_FILE, uuid.uuid4().hex, 0o666)
            engine = _engine(folder, database, patience_s)
            stack.callback(engine.dispose)
            _migrate(engine, place)
            log = cls(folder, engine, place, former_start=former)
            log.close_crashed()
            if database is not None:
                _put(folder / _DATABASE_FILE, database, 0o600)  # it may hold a password
            log._resources, log._is_run = stack.pop_all(), True
        return log

    @classmethod
    def open(cls, folder: Path, database: str | None = None) -> EventLog:
        """Open the log of a folder to read it, and to delete from it.

        Without `database` it is the one that the folder remembers. Raises EventLogError, naming
        the file, where there is none or it is damaged.
        """
        database = database or _text(folder / _DATABASE_FILE) or None
        if database is None and not (folder / FILE).is_file():
            raise EventLogError(
                f"no event log in {folder}: {FILE} is missing; give the folder of a run with --data"
            )
        place = _place(folder, database)
        with ExitStack() as stack, _explained(place):
            engine = _engine(folder, database, waits_s=10.0)
            stack.callback(engine.dispose)
            with engine.begin() as connection:
                version = _version_of(connection)
            if not version:
                raise EventLogError(f"no event log in {place} yet; give the folder of a run")
            if version < SCHEMA_VERSION and _is_held(folder / _LOCK_FILE):
                raise EventLogError(f"an older Actionwatch is writing to {folder}; stop it first")
            if version != SCHEMA_VERSION:
                _migrate(engine, place)
            log = cls(folder, engine, place)
            log._resources = stack.pop_all()
        return log

    def save(self, news: Sequence[News], *, run: str | None = None) -> None:
        """Write news in one transaction; the same news twice change nothing.

        `run` is the run that made them, if it is not this one. Raises NewsRefusedError for news
        that can't be written ever, EventLogError if not now; nothing is written then.
        """
        events = {one.event.id: one for one in news if isinstance(one, LoggedEvent)}
        recorded = {one.event_id: one for one in news if isinstance(one, Recorded)}
        ours = {"run": run or self.run, "site": self._site}
        rows = [as_row(one) | ours | _latest(one) for one in events.values()]
        with _explained(self._place), self._writer.begin() as connection:
            if rows:
                connection.execute(self._upsert, rows)
            for one in recorded.values():
                values = {"clip": one.clip, "snapshot": one.snapshot, "clip_note": one.note}
                where = _events.c.id == one.event_id
                connection.execute(_events.update().where(where).values(values))

    def rows(
        self,
        *,
        camera: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        latest: int | None = None,
        recorded: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Events as dictionaries with the keys COLUMNS, in the order of their starts.

        `camera` is also that of its zones; starts are from `since` on and before `until`. With
        `latest` only that many, the newest first; with `recorded` those with a clip or snapshot.
        An event that is open in a log to which nobody writes any more was cut off by a crash, and
        ends where it was last seen. Raises EventLogError where the log is damaged.
        """
        query = sa.select(_events).where(self._ours)
        if camera is not None:
            zones = _events.c.camera.startswith(f"{camera}/", autoescape=True)
            query = query.where((_events.c.camera == camera) | zones)
        if label is not None:
            query = query.where(_events.c.label == label)
        if since is not None:
            query = query.where(_events.c.start >= iso(since))
        if until is not None:
            query = query.where(_events.c.start < iso(until))
        if recorded:
            query = query.where((_events.c.clip != "") | (_events.c.snapshot != ""))
        start = _events.c.start if latest is None else _events.c.start.desc()
        query = query.order_by(start, _events.c.id).limit(latest)
        crashed = not self._is_run and not _is_held(self._folder / _LOCK_FILE)
        with _explained(self._place), self._engine.connect() as connection:
            for row in connection.execute(query).mappings():
                values = {name: row[name] for name in COLUMNS}
                if crashed and row["end"] is None:
                    values |= {"end": row["latest"], "end_s": row["latest_s"], "closed_by": "crash"}
                yield values

    def count(self) -> int:
        """How many events there are."""
        with _explained(self._place), self._engine.connect() as connection:
            query = sa.select(sa.func.count()).select_from(_events).where(self._ours)
            return connection.execute(query).scalar_one()

    def delete(self, ids: Iterable[str]) -> None:
        """Remove events; what was recorded of them stays."""
        left = list(ids)
        while left:
            some, left = left[:500], left[500:]  # a run's own news must not wait for long
            self._change(_events.delete().where(_events.c.id.in_(some)))

    def forget_run(self, run: str) -> None:
        """Remove all events of a run."""
        self._change(_events.delete().where(_events.c.run == run))

    def close_crashed(self) -> None:
        """Close what earlier runs left open, which were killed. When it ended nobody saw."""
        left_open = sa.and_(self._ours, _events.c.end.is_(None), _events.c.run != self.run)
        end = {"end": _events.c.latest, "end_s": _events.c.latest_s, "closed_by": "crash"}
        self._change(_events.update().where(left_open).values(end))

    def close(self) -> None:
        self._resources.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _change(self, statement: sa.Executable) -> None:
        with _explained(self._place), self._writer.begin() as connection:
            connection.execute(statement)


def _engine(folder: Path, database: str | None, waits_s: float) -> sa.Engine:
    """Connections that wait for others' locks for so long."""
    if database is not None:
        return _postgres_engine(database, waits_s)
    # By parts, not as text: a path may hold what means something in an address.
    url = sa.URL.create("sqlite", database=str(folder / FILE))
    engine = sa.create_engine(url, connect_args={"timeout": waits_s})

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # or Python begins transactions by itself, and too late
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 67108864"):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A transaction that only later turns out to write would not wait for another one.
        how = connection.get_execution_options().get("begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {how}")

    return engine


def _postgres_engine(address: str, waits_s: float) -> sa.Engine:
    from stream.credentials import resolved  # OpenCV comes with it, which few logs need
    from stream.decoding import SourceError

    waiting = {"connect_timeout": 3, "tcp_user_timeout": 10_000, "keepalives_idle": 10}
    try:
        url = sa.make_url(resolved(address)).set(drivername="postgresql+psycopg")
        if "@" in (url.host or ""):  # of a password, which would be shown as the host
            raise ValueError
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args=waiting)
    except SourceError as error:
        raise EventLogError(f"database: {error}") from error
    except ImportError as error:
        raise EventLogError("Postgres is an extra: pip install 'actionwatch[postgres]'") from error
    except (ValueError, sa.exc.ArgumentError) as error:
        raise EventLogError(
            "database: must be an address like postgresql://user:${PASSWORD}@host/database; "
            "in a password / and @ are written %2F and %40"
        ) from error

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        connection.execute(f"SET lock_timeout = {round(waits_s * 1000)}")
        connection.commit()

    return engine


def _migrate(engine: sa.Engine, place: str) -> None:
    """Make the log, or bring an older one to this version, in one transaction."""
    with engine.execution_options(begin="IMMEDIATE").begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(6233)")
        version = _version_of(connection)
        if version > SCHEMA_VERSION:
            raise EventLogError(
                f"{place} has schema version {version}, this program writes {SCHEMA_VERSION}; "
                "use the version of Actionwatch that made it"
            )
        for step in _STEPS[version:]:
            for statement in step:
                connection.exec_driver_sql(statement)
        connection.execute(_version.update().values(version=SCHEMA_VERSION))
        if engine.dialect.name == "sqlite":  # where programs look that know only version 1
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version_of(connection: sa.Connection) -> int:
    """The schema's version, 0 where there is none yet."""
    tables = sa.inspect(connection)
    if tables.has_table(_version.name):
        return connection.execute(sa.select(_version.c.version)).scalar_one()
    if connection.dialect.name == "sqlite" and tables.has_table(_events.name):
        return max(1, connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    return 0


def _latest(one: LoggedEvent) -> dict[str, Any]:
    return {"latest": iso(one.utc(one.event.latest_s)), "latest_s": one.event.latest_s}


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Turns what goes wrong into one line."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError, UnicodeError) as error:
        reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
        told = f"event log {place} can't be used: {' '.join(str(reason).split())}"
        told += "; " + next(fix for sign, fix in _FIXES.items() if sign in told)
        kind = NewsRefusedError if isinstance(error, _REFUSED) else EventLogError
        raise kind(told) from error


def _place(folder: Path, database: str | None) -> str:
    """What a log is called in messages."""
    if database is None:
        return str(folder / FILE)
    from stream.credentials import shown

    return shown(database)


def _take(lock: IO[str]) -> bool:
    """Take the lock of a folder, until the file is closed or the process ends, however it does."""
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(file: Path) -> bool:
    with suppress(OSError), file.open(encoding="utf-8") as lock:
        return not _take(lock)
    return False


def _text(file: Path) -> str:
    """What a small file holds, "" where there is none."""
    with _explained(str(file)):
        return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def _put(file: Path, text: str, mode: int) -> None:
    """Write a small file, whole or not at all."""
    new = file.with_name(f"{file.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as opened:
        opened.write(f"{text}\n")
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
