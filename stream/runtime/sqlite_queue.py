"""SqliteQueue: a bounded queue of texts in a file, which survives kills and power failures."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger(__name__)
_SCHEMA = "CREATE TABLE queue (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, text TEXT)"
_SUFFIXES = ("", "-wal", "-shm")  # of SQLite's files
_CORRUPTED = ".corrupted"


class QueueItem(NamedTuple):
    """One text of a queue. Later ones have higher ids."""

    id: int
    key: str
    text: str


class SqliteQueue:
    """Texts with unique keys, oldest first. Thread-safe, for one process at a time.

    A corrupted file, and one of another program, is renamed to FILE.corrupted, logged, and counted
    in `corrupted_files`. Methods raise OSError if the file can't be used; then nothing has changed,
    and the next call opens it again. The first `append` creates the file, not its folder.
    """

    def __init__(
        self,
        file: Path,
        *,
        max_items: int,
        max_bytes: int = 64_000_000,
        survives_power_failure: bool = True,
    ) -> None:
        self.corrupted_files = 0
        self._file, self._max_items, self._max_bytes = file, max_items, max_bytes
        # An fsync for each change, or for some of them. A kill loses nothing either way.
        self._synchronous = "FULL" if survives_power_failure else "NORMAL"
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._count = 0

    def __len__(self) -> int:
        """The number of items, without a look at the file; 0 before the first use of it."""
        return self._count

    def append(self, items: Iterable[tuple[str, str]]) -> int:
        """Add pairs of key and text in one transaction; they are on disk when this returns.

        The text of a key that is queued already is replaced, and keeps its position. Returns the
        number of new keys that were left out because the queue was full.
        """
        lost = 0
        with self._transaction() as connection:
            for key, text in items:
                updated = connection.execute("UPDATE queue SET text = ? WHERE key = ?", (text, key))
                if updated.rowcount:
                    continue
                if self._count >= self._max_items or _bytes(connection) >= self._max_bytes:
                    lost += 1
                    continue
                connection.execute("INSERT INTO queue (key, text) VALUES (?, ?)", (key, text))
                self._count += 1
        return lost

    def oldest(self, count: int = 1, *, after: int = 0) -> list[QueueItem]:
        """At most `count` items with ids above `after`, oldest first."""
        if not self._file.exists():
            return []
        with self._transaction() as connection:
            query = "SELECT id, key, text FROM queue WHERE id > ? ORDER BY id LIMIT ?"
            return [QueueItem(*row) for row in connection.execute(query, (after, count))]

    def remove(self, keys: Iterable[str]) -> None:
        """Remove items in one transaction; unknown keys are ignored."""
        if not self._file.exists():
            return
        with self._transaction() as connection:
            for key in keys:
                deleted = connection.execute("DELETE FROM queue WHERE key = ?", (key,))
                self._count -= deleted.rowcount

    def sync(self) -> None:
        """Make all changes so far survive a power failure."""
        if not self._file.exists():
            return
        with self._lock:
            try:
                self._open().execute("PRAGMA wal_checkpoint").close()
            except sqlite3.Error as error:
                self._close()
                raise OSError(errno.EIO, str(error)) from error

    def clear(self) -> None:
        """Remove all items, and the file."""
        with self._lock:
            self._close()
            self._count = 0
            for suffix in _SUFFIXES:
                _with_suffix(self._file, suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            self._close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            before = self._count
            try:
                connection = self._open()
                before = self._count
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                self._count = before
                self._close()  # rolls back
                if isinstance(error, sqlite3.Error):
                    raise OSError(errno.EIO, str(error)) from error
                raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            if self._inode == self._file.stat().st_ino:
                return self._connection
            self._close()  # the file was replaced
        with self._file.open("ab") as opened:  # creates it; its errors are clearer than SQLite's
            self._inode = os.fstat(opened.fileno()).st_ino
        try:
            self._connection = _connect(str(self._file), self._synchronous)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # such as a full disk
                raise
            self._move_aside(str(error))
            return self._open()
        (self._count,) = self._connection.execute("SELECT count(*) FROM queue").fetchone()
        return self._connection

    def _move_aside(self, reason: str) -> None:
        moved = self._file.with_name(f"{self._file.name}{_CORRUPTED}")
        for suffix in _SUFFIXES:
            if _with_suffix(self._file, suffix).exists():
                _with_suffix(self._file, suffix).replace(_with_suffix(moved, suffix))
        self.corrupted_files += 1
        _log.error("%s can't be read (%s): it was renamed to %s", self._file, reason, moved.name)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connect(file: str, synchronous: str) -> sqlite3.Connection:
    """Raises DatabaseError, but not its subclasses, for a file that is no queue."""
    connection = sqlite3.connect(file, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            "journal_mode = WAL",
            f"synchronous = {synchronous}",
            "journal_size_limit = 4194304",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        schema = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master") if sql]
        if not schema:
            connection.execute(_SCHEMA)
        elif schema != [_SCHEMA]:
            problem = "it belongs to another program"
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _bytes(connection: sqlite3.Connection) -> int:
    """The size of the pages in use."""
    pages, unused, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - unused) * size


def _with_suffix(file: Path, suffix: str) -> Path:
    return file.with_name(f"{file.name}{suffix}")
