"""The event log's database: schema, migrations and connections.

SQLite in the data folder, or Postgres.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from stream.runtime.errors import UserError
from stream.runtime.secrets import SecretError, redact, resolve_secrets
from stream.sinks.event_log.rows import COLUMNS

FILE = "events.sqlite"
DATABASE_FILE = "database"  # holds the database URL, if the database is not FILE
MEDIA_COLUMNS = ("clip", "snapshot", "clip_note", "clip_start_s")  # only EventMedia sets these
REVIEW_COLUMNS = ("verdict", "corrected", "note", "reviewed_by", "reviewed_at")  # only Review does
_REJECTED = (sa.exc.DataError, sa.exc.IntegrityError, UnicodeError)
_FIXES = {  # by a part of the message
    "://": f"fix that, or remove the data folder's file {DATABASE_FILE!r} to log to SQLite",
    "is full": "free some disk space",
    "is locked": "stop the program that holds the lock",
    "": "restore it, or give another folder",
}
events_table = sa.table("events", *map(sa.column, (*COLUMNS, "run", "site", "latest", "latest_s")))
_version = sa.table("actionwatch_schema", sa.column("version"))

# Step n migrates to version n, in both databases. A new log runs all steps.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        # UTC is ISO 8601 with milliseconds and Z; names that end in _s are seconds since the start
        # of the source. `end` is NULL while the event is open; `latest` is when it was last seen.
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
        # The best guess for events of version 1, which did not store these.
        "UPDATE events SET detected_at = start, detected_s = start_s, peak_s = start_s",
        "CREATE INDEX ix_events_camera_start ON events (camera, start)",
    ),
    (
        "ALTER TABLE events ADD COLUMN clip_start_s FLOAT",
        *(
            f"ALTER TABLE events ADD COLUMN {name} VARCHAR NOT NULL DEFAULT ''"
            for name in REVIEW_COLUMNS
        ),
    ),
)
SCHEMA_VERSION = len(_STEPS)
# Additional steps for SQLite, by version. One covering index serves all list queries. Postgres is
# fast without it, and rejects labels that are too long for its indices.
_SQLITE_STEPS: dict[int, tuple[str, ...]] = {
    3: (
        "DROP INDEX ix_events_start",
        """CREATE INDEX ix_events_shown
            ON events (start, id, camera, label, corrected, verdict, peak, "end")""",
    ),
}


class EventLogError(UserError):
    """The log can't be opened, read or written. The message is one line for the user."""


class UnknownEventError(EventLogError):
    """The event is not in the log, or no longer."""


class OpenEventError(EventLogError):
    """The event is still open, so the operation isn't possible yet."""


class RejectedUpdateError(EventLogError):
    """The database rejects this update; retrying can't help."""


def connect(folder: Path, database: str | None, lock_timeout_s: float) -> sa.Engine:
    """An engine whose connections wait at most `lock_timeout_s` for a lock."""
    if database is not None:
        return _postgres_engine(database, lock_timeout_s)
    # From parts, not text: a path may contain characters that are special in a URL.
    url = sa.URL.create("sqlite", database=str(folder / FILE))
    read_only = not os.access(folder, os.W_OK)
    if read_only:
        engine = sa.create_engine(
            url, creator=lambda: _connect_read_only(folder / FILE), poolclass=sa.NullPool
        )
    else:
        engine = sa.create_engine(url, connect_args={"timeout": lock_timeout_s})

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # else Python starts transactions itself, too late
        if read_only:
            return
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 67108864"):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A deferred transaction that starts to write doesn't wait for a lock: SQLite fails it.
        mode = connection.get_execution_options().get("begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _connect_read_only(file: Path) -> sqlite3.Connection:
    """A connection that writes no file beside the log.

    SQLite can't open a log without a -wal file so, unless it may assume that nobody writes to it.
    """
    is_written = Path(f"{file}-wal").exists()  # by a run; or a run was killed
    uri = f"file:{quote(str(file))}?mode=ro{'' if is_written else '&immutable=1'}"
    return sqlite3.connect(uri, uri=True, timeout=10.0, check_same_thread=False)


def _postgres_engine(database: str, lock_timeout_s: float) -> sa.Engine:
    timeouts = {"connect_timeout": 3, "tcp_user_timeout": 10_000, "keepalives_idle": 10}
    try:
        url = sa.make_url(resolve_secrets(database)).set(drivername="postgresql+psycopg")
        if "@" in (url.host or ""):  # part of a password, which would be shown as the host
            raise ValueError
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args=timeouts)
    except SecretError as error:
        raise EventLogError(f"database: {error}") from error
    except ImportError as error:
        raise EventLogError("Postgres is an extra: pip install 'actionwatch[postgres]'") from error
    except (ValueError, sa.exc.ArgumentError) as error:
        raise EventLogError(
            "database: must be a URL like postgresql://user:${PASSWORD}@host/database; "
            "in a password, write / and @ as %2F and %40"
        ) from error

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        connection.execute(f"SET lock_timeout = {round(lock_timeout_s * 1000)}")
        connection.commit()

    return engine


def migrate(engine: sa.Engine, name: str) -> None:
    """Create the log, or migrate an older one to this version, in one transaction."""
    with engine.execution_options(begin="IMMEDIATE").begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(6233)")
        version = version_of(connection)
        if version > SCHEMA_VERSION:
            raise EventLogError(
                f"{name} has schema version {version}, this program writes {SCHEMA_VERSION}; "
                "use the Actionwatch version that created it"
            )
        is_sqlite = engine.dialect.name == "sqlite"
        for number, step in enumerate(_STEPS[version:], start=version + 1):
            for statement in (*step, *(_SQLITE_STEPS.get(number, ()) if is_sqlite else ())):
                connection.exec_driver_sql(statement)
        connection.execute(_version.update().values(version=SCHEMA_VERSION))
        if is_sqlite:  # programs that know only version 1 check this
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def version_of(connection: sa.Connection) -> int:
    """The schema version, 0 for an empty database."""
    tables = sa.inspect(connection)
    if tables.has_table(_version.name):
        return connection.execute(sa.select(_version.c.version)).scalar_one()
    if connection.dialect.name == "sqlite" and tables.has_table(events_table.name):
        return max(1, connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    return 0


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turn errors of the database and the file system into EventLogError, with a fix."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError, UnicodeError) as error:
        reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
        message = f"event log {name} can't be used: {' '.join(str(reason).split())}"
        message += "; " + next(fix for sign, fix in _FIXES.items() if sign in message)
        kind = RejectedUpdateError if isinstance(error, _REJECTED) else EventLogError
        raise kind(message) from error


def display_name(folder: Path, database: str | None) -> str:
    """The name of a log in messages, without secrets."""
    if database is None:
        return str(folder / FILE)
    return redact(database)
