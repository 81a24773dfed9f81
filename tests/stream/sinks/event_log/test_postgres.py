"""The event log in a real Postgres server, which the tests start."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.messages import EventMedia, LoggedEvent, Review
from stream.runtime.metrics import Metrics
from stream.sinks.event_log.database import (
    REVIEW_COLUMNS,
    EventLogError,
    RejectedUpdateError,
    UnknownEventError,
)
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import FILE as JOURNAL_FILE
from stream.sinks.event_log.journal import Journal
from stream.sinks.event_log.query import EventQuery
from stream.sinks.event_log.rows import COLUMNS
from stream.sinks.event_log.writer import EventWriter
from tests.event_samples import NASTY, START_UTC, logged
from tests.waiting import wait_for
from tests.written_events import WrittenEvents

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Cluster:
    """A database server with its own data folder and Unix socket, without a TCP port."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # Postgres refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._run("initdb", "-D", str(self._data), "-U", "actionwatch", "-A", "trust", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        options = ("-k", str(self._folder), "-c", "listen_addresses=", "-c", "fsync=off")
        with (self._folder.parent / "log").open("a") as log:
            self._server = subprocess.Popen(
                [str(_PROGRAMS[-1] / "postgres"), "-D", str(self._data), *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **self._user,
            )
        wait_for(self._is_ready)

    def stop(self) -> None:
        """Stop immediately, as after a kill."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(timeout=60)

    def new_database(self, name: str) -> str:
        self._run("createdb", "-h", str(self._folder), "-U", "actionwatch", name)
        return self.address(name)

    def address(self, name: str) -> str:
        return f"postgresql://actionwatch:geheim@/{name}?host={self._folder}"

    def _is_ready(self) -> bool:
        assert self._server.poll() is None, (self._folder.parent / "log").read_text()
        command = [str(_PROGRAMS[-1] / "pg_isready"), "-h", str(self._folder), "-d", "postgres"]
        return subprocess.run(command, capture_output=True).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(_PROGRAMS[-1] / program), *arguments],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            **self._user,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not _PROGRAMS:
        pytest.skip("needs Debian's postgresql")
    pytest.importorskip("psycopg", reason="needs psycopg: the extra actionwatch[postgres]")
    # Not pytest's folder: its parents are private, and sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="actionwatch-") as outer:
        Path(outer).chmod(0o755)
        folder = Path(outer) / "pg"
        folder.mkdir()
        server = Cluster(folder)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def address(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """The URL of a new database for this test."""
    return cluster.new_database(f"t{abs(hash(request.node.name)) % 10**9}")


def rows(folder: Path, **conditions: object) -> list[dict]:
    with EventLog.open(folder) as log:
        return list(log.rows(EventQuery(**conditions)))  # type: ignore[arg-type]


def test_postgres_stores_the_same_rows_as_sqlite(tmp_path: Path, address: str) -> None:
    updates: list = [
        logged("wave", 2.0, None),
        logged("wave", 2.0, 4.0),
        logged(NASTY, 5.0, 6.0, camera="door/left", peak=0.123456),
        logged("run", 7.0, None),
    ]
    updates.append(EventMedia(updates[1].event.id, "clip.mp4", "snap.jpg", "late"))
    found = []
    for folder, database in ((tmp_path / "file", None), (tmp_path / "server", address)):
        with EventLog.create(folder, database) as log:
            log.write_updates(updates)
            log.write_updates(updates[:1])
            assert log.count() == 3
            found.append(
                [
                    rows(folder),
                    rows(folder, camera="door"),
                    rows(folder, label=NASTY),
                    log.page(limit=2),
                    log.page(EventQuery(label="run"), 2, 1),
                    rows(folder, has_media=True),
                ]
            )
        found[-1].append(rows(folder))  # no run is writing: the open event is shown closed
    assert found[0] == found[1]
    assert tuple(found[1][0][0]) == COLUMNS
    assert found[1][-1][2]["closed_by"] == "crash"


def test_reviews_in_postgres(tmp_path: Path, address: str) -> None:
    import psycopg

    one, other = logged("wave", 2.0, 4.0), logged("run", 5.0, 6.0, camera="desk")
    with EventLog.create(tmp_path / "a", address) as log:
        log.write_updates([one, other])
    with psycopg.connect(address, autocommit=True) as connection:  # back to version 2
        for name in (*REVIEW_COLUMNS, "clip_start_s"):
            connection.execute(f"ALTER TABLE events DROP COLUMN {name}")  # type: ignore[arg-type]
        connection.execute("UPDATE actionwatch_schema SET version = 2")
    with EventLog.open(tmp_path / "a", address) as log:
        log.review(one.event.id, Review("corrected", NASTY, NASTY, "anna"), START_UTC)
        log.write_updates([one])
        (row,) = log.rows(EventQuery(label=NASTY, reviewed=True, min_peak=0.9, camera="door"))
        assert (row["corrected"], row["note"], row["reviewed_by"]) == (NASTY, NASTY, "anna")
        assert log.count(EventQuery(since=START_UTC + timedelta(seconds=3), overlapping=True)) == 2
        assert log.labels() == sorted(["wave", "run", NASTY])
        assert log.cameras() == ["desk", "door"]
    with EventLog.create(tmp_path / "b", address) as foreign:
        assert (foreign.labels(), foreign.event(one.event.id)) == ([], None)
        with pytest.raises(UnknownEventError):
            foreign.review(one.event.id, Review("rejected"), START_UTC)


def test_folder_stores_its_database_url_without_the_secret(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "p@ss/geheim")
    written = address.replace("geheim", "${DB_PASSWORD}")
    with EventLog.create(tmp_path, written) as log:
        log.write_updates([logged("wave", 2.0, 4.0)])
    assert len(rows(tmp_path)) == 1
    assert (tmp_path / "database").read_text() == f"{written}\n"
    assert stat.S_IMODE((tmp_path / "database").stat().st_mode) == 0o600
    with EventLog.create(tmp_path) as log:  # uses the stored URL
        assert log.count() == 1
    assert not (tmp_path / "events.sqlite").exists()


def test_folders_that_share_a_database_see_only_their_own_events(
    tmp_path: Path, address: str
) -> None:
    with (
        EventLog.create(tmp_path / "a", address) as one,
        EventLog.create(tmp_path / "b", address) as other,
    ):
        one.write_updates([logged("wave", 2.0, None)])
        other.write_updates([logged("run", 3.0, None)])
        assert [row["label"] for row in one.rows()] == ["wave"]
        assert (one.count(), other.count()) == (1, 1)
    EventLog.create(tmp_path / "a", address).close()  # closes only its own events
    assert [row["closed_by"] for row in rows(tmp_path / "a")] == ["crash"]
    with EventLog.create(tmp_path / "c", address) as third:
        third.write_updates([logged("jump", 4.0, None)])
        with third._engine.connect() as connection:
            query = "SELECT label, closed_by FROM events ORDER BY label"
            found = connection.exec_driver_sql(query).all()
    assert [tuple(row) for row in found] == [("jump", ""), ("run", ""), ("wave", "crash")]


def test_concurrent_creation(tmp_path: Path, address: str) -> None:
    failed: list[Exception] = []

    def create(number: int) -> None:
        try:
            with EventLog.create(tmp_path / str(number), address, lock_timeout_s=10) as log:
                log.write_updates([logged("wave", float(number), number + 1.0)])
        except EventLogError as error:
            failed.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [len(rows(tmp_path / str(number))) for number in range(4)] == [1, 1, 1, 1]


def test_missing_log_is_named_in_the_error(tmp_path: Path, cluster: Cluster, address: str) -> None:
    with pytest.raises(EventLogError, match="no event log in postgresql://"):
        EventLog.open(tmp_path, address)
    with pytest.raises(EventLogError, match='"none" does not exist') as error:
        EventLog.create(tmp_path, cluster.address("none"))
    assert "geheim" not in str(error.value)


def test_foreign_table_is_not_touched(tmp_path: Path, address: str) -> None:
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE TABLE events (content TEXT)")
        with pytest.raises(EventLogError, match='"events" already exists'):
            EventLog.create(tmp_path, address)
        assert connection.execute("SELECT * FROM events").fetchall() == []


def test_rejected_updates_differ_from_unavailable_database(tmp_path: Path, address: str) -> None:
    import psycopg

    with EventLog.create(tmp_path, address, lock_timeout_s=0.05) as log:
        with pytest.raises(RejectedUpdateError, match="NUL"):
            log.write_updates([logged("a\0b", 2.0, 4.0)])
        with closing(psycopg.connect(address)) as other:
            other.execute("LOCK TABLE events")
            with pytest.raises(EventLogError, match="lock timeout") as error:
                log.write_updates([logged("wave", 2.0, 4.0)])
            other.rollback()  # a closed connection holds its locks for a moment
        assert not isinstance(error.value, RejectedUpdateError)
        log.write_updates([logged("wave", 2.0, 4.0)])


def test_server_restarts_lose_and_duplicate_nothing(
    tmp_path: Path, cluster: Cluster, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    listener, metrics = WrittenEvents(), Metrics()
    written = listener.events
    with EventLog.create(tmp_path, address) as log:
        writer = EventWriter(
            log,
            Journal(tmp_path),
            metrics,
            listener=listener,
            min_retry_delay_s=0.05,
            max_retry_delay_s=0.2,
        )
        writer.start()
        put: list[LoggedEvent] = []

        def put_events(count: int) -> None:
            for _ in range(count):
                start_s = float(len(put) // 2)
                put.append(logged("wave", start_s, start_s + 0.5 if len(put) % 2 else None))
                writer.put(put[-1])
            wait_for(lambda: len(written) == len(put))

        try:
            put_events(101)
            for _ in range(3):
                stopper = threading.Thread(target=cluster.stop)
                stopper.start()
                while stopper.is_alive():  # while events are written
                    put_events(10)
                stopper.join()
                put_events(25)
                assert writer.unavailable_reason
                assert writer.pending
                cluster.start()
                wait_for(lambda: not writer.pending)
                put_events(10)
            put_events(len(put) % 2)
        finally:
            writer.request_stop()
            assert writer.join(60)
    assert written == put
    found = rows(tmp_path)
    assert [row["start_s"] for row in found] == list(range(len(put) // 2))
    assert all(row["end_s"] == row["start_s"] + 0.5 for row in found)
    assert metrics.total("journaled_events") >= 75
    assert metrics.total("lost_events") == 0
    assert not (tmp_path / JOURNAL_FILE).exists()
    assert "geheim" not in caplog.text


def test_reader_survives_a_server_restart(tmp_path: Path, cluster: Cluster, address: str) -> None:
    with EventLog.create(tmp_path, address) as log:
        log.write_updates([logged("wave", 2.0, 4.0)])
        cluster.stop()
        with pytest.raises(EventLogError, match="can't be used"):
            log.count()
        cluster.start()
        assert log.count() == 1
