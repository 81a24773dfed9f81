"""The event log: schema, append, query. SQLite with a write-ahead log.

Appending belongs to one thread; readers open their own EventLog on the same folder.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from stream.messages import Event

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FILE = "events.sqlite"
_LOCK_FILE = "events.lock"
COLUMNS = (
    "id",
    "camera",
    "label",
    "start",
    "end",
    "start_s",
    "end_s",
    "peak",
    "mean",
    "model",
    "closed_by",
)
_SCHEMA_VERSION = 1

_metadata = sa.MetaData()
_events = sa.Table(
    "events",
    _metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("run", sa.String(32), nullable=False),
    sa.Column("camera", sa.String, nullable=False),
    sa.Column("label", sa.String, nullable=False),
    # UTC, ISO 8601 with milliseconds and Z: sorts as text, reads as a date everywhere.
    sa.Column("start", sa.String, nullable=False, index=True),
    sa.Column("end", sa.String),  # NULL while the event is open
    sa.Column("start_s", sa.Float, nullable=False),  # seconds since the source began
    sa.Column("end_s", sa.Float),
    # While it is open: the last moment at which it was seen to go on.
    sa.Column("latest", sa.String, nullable=False),
    sa.Column("latest_s", sa.Float, nullable=False),
    sa.Column("peak", sa.Float, nullable=False),
    sa.Column("mean", sa.Float, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("closed_by", sa.String, nullable=False, default=""),
)


class EventLogError(Exception):
    """A log that can't be opened or read. The message is one line for a person."""


class EventLog:
    """Events of all runs into one data folder.

    `EventLog.create` opens it for a run, which then holds the folder alone, and closes what an
    earlier run left open; `EventLog.open` reads a log that exists.
    """

    def __init__(self, folder: Path, engine: sa.Engine, lock: IO[str] | None) -> None:
        self._folder = folder
        self._engine = engine
        self._lock = lock  # held open for as long as this run may write
        self._run = uuid.uuid4().hex
        self._open: dict[tuple[str, str], str] = {}  # camera and label -> id

    @classmethod
    def create(cls, folder: Path) -> EventLog:
        """Open the log of a folder for writing, making both where they don't exist.

        Raises EventLogError, naming the file, where that can't be done.
        """
        file = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / _LOCK_FILE).open("a", encoding="utf-8")
        except OSError as error:
            raise EventLogError(_no_log(file, error, "give another folder with --data")) from error
        log = cls(folder, _engine(file, ("journal_mode = WAL", "synchronous = NORMAL")), lock)
        try:
            if not _take(lock):
                raise EventLogError(
                    f"another run is writing to {folder}; give another folder with --data"
                )
            log._prepare(file)
        except sa.exc.DatabaseError as error:
            log.close()
            raise EventLogError(_no_log(file, error, "give another folder with --data")) from error
        except EventLogError:
            log.close()
            raise
        return log

    @classmethod
    def open(cls, folder: Path) -> EventLog:
        """Open the log of a folder for reading.

        Raises EventLogError, naming the file, where there is none or it is damaged.
        """
        file = folder / FILE
        if not file.is_file():
            raise EventLogError(
                f"no event log in {folder}: {FILE} is missing; give the folder of a run with --data"
            )
        log = cls(folder, _engine(file, ()), None)
        try:
            _check_version(log._engine, file)
        except sa.exc.DatabaseError as error:
            log.close()
            raise EventLogError(_no_log(file, error, "restore it from a copy")) from error
        except EventLogError:
            log.close()
            raise
        return log

    def write(self, event: Event, *, began_utc: datetime, model: str) -> None:
        """Write an event that opened, how far an open one has come, or the end of one.

        `began_utc` is the camera's time 0. An event that was not written before gets a new row.
        """
        key = (event.camera, event.label)
        values: dict[str, Any] = {
            "peak": event.peak,
            "mean": event.mean,
            "latest": iso(began_utc + timedelta(seconds=event.latest_s)),
            "latest_s": event.latest_s,
        }
        if event.end_s is not None:
            end = began_utc + timedelta(seconds=event.end_s)
            values |= {"end": iso(end), "end_s": event.end_s, "closed_by": event.closed_by}
        identity = self._open.get(key)
        with self._engine.begin() as connection:
            if identity is not None:
                connection.execute(_events.update().where(_events.c.id == identity).values(values))
            else:
                identity = uuid.uuid4().hex
                values |= {
                    "id": identity,
                    "run": self._run,
                    "camera": event.camera,
                    "label": event.label,
                    "start": iso(began_utc + timedelta(seconds=event.start_s)),
                    "start_s": event.start_s,
                    "model": model,
                }
                connection.execute(_events.insert().values(values))
        if event.end_s is None:
            self._open[key] = identity
        else:
            self._open.pop(key, None)

    def rows(
        self,
        *,
        camera: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
        latest: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Events as dictionaries with the keys COLUMNS, in the order of their starts.

        `camera` is also that of its zones. With `latest` only that many, the newest first. An event
        that is open in a log to which nobody writes any more was cut off by a crash, and ends where
        it was last seen.
        Raises EventLogError where the log is damaged.
        """
        query = sa.select(_events)
        if camera is not None:
            zones = _events.c.camera.startswith(f"{camera}/", autoescape=True)
            query = query.where((_events.c.camera == camera) | zones)
        if label is not None:
            query = query.where(_events.c.label == label)
        if since is not None:
            query = query.where(_events.c.start >= iso(since))
        if latest is None:
            query = query.order_by(_events.c.start, _events.c.id)
        else:
            query = query.order_by(_events.c.start.desc(), _events.c.id).limit(latest)
        crashed = self._lock is None and not _is_held(self._folder / _LOCK_FILE)
        try:
            with self._engine.connect() as connection:
                for row in connection.execute(query).mappings():
                    values = {name: row[name] for name in COLUMNS}
                    if crashed and row["end"] is None:
                        values |= {"end": row["latest"], "end_s": row["latest_s"]}
                        values["closed_by"] = "crash"
                    yield values
        except sa.exc.DatabaseError as error:
            file = self._folder / FILE
            raise EventLogError(_no_log(file, error, "restore it from a copy")) from error

    def close(self) -> None:
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self, file: Path) -> None:
        _metadata.create_all(self._engine)
        with self._engine.begin() as connection:
            if not connection.exec_driver_sql("PRAGMA user_version").scalar_one():
                connection.exec_driver_sql(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        _check_version(self._engine, file)
        # What is still open was left by a run that was killed. When it ended nobody saw.
        with self._engine.begin() as connection:
            connection.execute(
                _events.update()
                .where(_events.c.end.is_(None))
                .values(end=_events.c.latest, end_s=_events.c.latest_s, closed_by="crash")
            )


def iso(moment: datetime) -> str:
    """UTC, ISO 8601, milliseconds."""
    utc = moment.astimezone(timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


def _engine(file: Path, pragmas: tuple[str, ...]) -> sa.Engine:
    # By parts, not as text: a path may hold what means something in an address.
    url = sa.URL.create("sqlite", database=str(file))
    engine = sa.create_engine(url, connect_args={"timeout": 10})

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _take(lock: IO[str]) -> bool:
    """Take the lock of a folder, until the file is closed or the process ends, however it does."""
    if fcntl is None:  # not on Windows
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as lock:
            return not _take(lock)
    except OSError:
        return False


def _check_version(engine: sa.Engine, file: Path) -> None:
    with engine.connect() as connection:
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version != _SCHEMA_VERSION:
        raise EventLogError(
            f"{file} has schema version {version}, this program writes {_SCHEMA_VERSION}; "
            "use the version of Actionwatch that made it"
        )


def _no_log(file: Path, error: Exception, fix: str) -> str:
    reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
    return f"event log {file} can't be used: {reason}; {fix}"
