"""The event log's database: its schema and migrations, and connections to it.

SQLite in the data folder, or Postgres.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from stream.sinks.event_log.rows import COLUMNS

FILE = "events.sqlite"
DATABASE_FILE = "database"  # holds the address of the database, where it is not FILE
RECORDED = ("clip", "snapshot", "clip_note", "clip_start_s")  # only Recorded changes these
REVIEWED = ("verdict", "corrected", "note", "reviewed_by", "reviewed_at")  # only a Review does
_REFUSED = (sa.exc.DataError, sa.exc.IntegrityError, UnicodeError)
_FIXES = {  # by what a place or reason holds
    "://": f"mend that, or remove the data folder's file {DATABASE_FILE!r} to log into a file",
    "is full": "make room on its disk",
    "is locked": "end the program that holds it",
    "": "restore it, or give another folder",
}
events_table = sa.table("events", *map(sa.column, (*COLUMNS, "run", "site", "latest", "latest_s")))
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
            for name in ("site", "detected_at", "clip", "snapshot", "clip_note")
        ),
        "ALTER TABLE events ADD COLUMN detected_s FLOAT NOT NULL DEFAULT 0",
        "ALTER TABLE events ADD COLUMN peak_s FLOAT NOT NULL DEFAULT 0",
        # The best guess for events of which nobody noted it.
        "UPDATE events SET detected_at = start, detected_s = start_s, peak_s = start_s",
        "CREATE INDEX ix_events_camera_start ON events (camera, start)",
    ),
    (
        "ALTER TABLE events ADD COLUMN clip_start_s FLOAT",
        *(f"ALTER TABLE events ADD COLUMN {name} VARCHAR NOT NULL DEFAULT ''" for name in REVIEWED),
    ),
)
SCHEMA_VERSION = len(_STEPS)
# And in a file only, by version. One index answers what lists are chosen by, without the rows; a
# server is quick without it, and would refuse labels that are longer than its indices hold.
_STEPS_OF_A_FILE: dict[int, tuple[str, ...]] = {
    3: (
        "DROP INDEX ix_events_start",
        """CREATE INDEX ix_events_shown
            ON events (start, id, camera, label, corrected, verdict, peak, "end")""",
    ),
}


class EventLogError(Exception):
    """A log that can't be opened, read or written. The message is one line for a person."""


class UnknownEventError(EventLogError):
    """An event that is not in the log, or no longer."""


class OpenEventError(EventLogError):
    """An event that goes on, with which that can't be done yet."""


class NewsRefusedError(EventLogError):
    """News that the database will never take, however often it is asked."""


def connect(folder: Path, database: str | None, waits_s: float) -> sa.Engine:
    """Connections that wait for others' locks for so long."""
    if database is not None:
        return _postgres_engine(database, waits_s)
    # By parts, not as text: a path may hold what means something in an address.
    url = sa.URL.create("sqlite", database=str(folder / FILE))
    read_only = not os.access(folder, os.W_OK)
    if read_only:  # such as a backup, to which nobody writes
        place = f"file:{quote(str(folder / FILE))}"
        url = sa.URL.create("sqlite", database=place, query={"immutable": "1", "uri": "true"})
    engine = sa.create_engine(url, connect_args={"timeout": waits_s})

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # or Python begins transactions by itself, and too late
        if read_only:
            return
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 67108864"):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A transaction that only later turns out to write would not wait for another one.
        how = connection.get_execution_options().get("begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {how}")

    return engine


def _postgres_engine(address: str, waits_s: float) -> sa.Engine:
    from stream.runtime.secrets import resolved  # OpenCV comes with it, which few logs need
    from stream.sources.opencv_capture import SourceError

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


def migrate(engine: sa.Engine, place: str) -> None:
    """Make the log, or bring an older one to this version, in one transaction."""
    with engine.execution_options(begin="IMMEDIATE").begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(6233)")
        version = version_of(connection)
        if version > SCHEMA_VERSION:
            raise EventLogError(
                f"{place} has schema version {version}, this program writes {SCHEMA_VERSION}; "
                "use the version of Actionwatch that made it"
            )
        in_file = engine.dialect.name == "sqlite"
        for number, step in enumerate(_STEPS[version:], start=version + 1):
            for statement in (*step, *(_STEPS_OF_A_FILE.get(number, ()) if in_file else ())):
                connection.exec_driver_sql(statement)
        connection.execute(_version.update().values(version=SCHEMA_VERSION))
        if in_file:  # where programs look that know only version 1
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def version_of(connection: sa.Connection) -> int:
    """The schema's version, 0 where there is none yet."""
    tables = sa.inspect(connection)
    if tables.has_table(_version.name):
        return connection.execute(sa.select(_version.c.version)).scalar_one()
    if connection.dialect.name == "sqlite" and tables.has_table(events_table.name):
        return max(1, connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    return 0


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turns what goes wrong into one line."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError, UnicodeError) as error:
        reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
        told = f"event log {place} can't be used: {' '.join(str(reason).split())}"
        told += "; " + next(fix for sign, fix in _FIXES.items() if sign in told)
        kind = NewsRefusedError if isinstance(error, _REFUSED) else EventLogError
        raise kind(told) from error


def place_of(folder: Path, database: str | None) -> str:
    """What a log is called in messages."""
    if database is None:
        return str(folder / FILE)
    from stream.runtime.secrets import shown

    return shown(database)
