from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from stream.messages import EventMedia, LoggedEvent
from stream.sinks.event_log.database import FILE, SCHEMA_VERSION, EventLogError, RejectedUpdateError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from stream.sinks.event_log.rows import COLUMNS
from tests.event_samples import START_UTC, logged

ROOT = Path(__file__).parents[4]
# Version 1 of the schema, as SQLAlchemy and pragmas created it.
VERSION_1 = """
CREATE TABLE events (
    id VARCHAR(32) NOT NULL, run VARCHAR(32) NOT NULL, camera VARCHAR NOT NULL,
    label VARCHAR NOT NULL, start VARCHAR NOT NULL, "end" VARCHAR, start_s FLOAT NOT NULL,
    end_s FLOAT, latest VARCHAR NOT NULL, latest_s FLOAT NOT NULL, peak FLOAT NOT NULL,
    mean FLOAT NOT NULL, model VARCHAR NOT NULL, closed_by VARCHAR NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_events_start ON events (start);
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
INSERT INTO events VALUES
    ('a', 'r', 'door', 'wave', '2026-02-01T00:00:00.500Z', '2026-02-01T00:00:02.500Z', 2.0, 4.0,
     '2026-02-01T00:00:02.500Z', 4.0, 0.9, 0.7, 'motion', ''),
    ('b', 'r', 'door', 'wave', '2026-02-01T00:00:05.000Z', NULL, 6.5, NULL,
     '2026-02-01T00:00:06.000Z', 7.5, 0.8, 0.7, 'motion', '');
"""


def rows(folder: Path, **conditions: object) -> list[dict]:
    with EventLog.open(folder) as log:
        return list(log.rows(EventQuery(**conditions)))  # type: ignore[arg-type]


def sql(folder: Path, script: str) -> None:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.executescript(script)


def seen_until(update: LoggedEvent, latest_s: float) -> LoggedEvent:
    return replace(update, event=replace(update.event, latest_s=latest_s))


def test_event_is_one_row_from_start_to_end(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write_updates([logged("wave", 2.0, None)])
        (row,) = rows(tmp_path)
        assert (row["end"], row["end_s"], row["clip"]) == (None, None, "")
        log.write_updates([logged("wave", 2.0, 4.0)])
    (row,) = rows(tmp_path)
    assert tuple(row) == COLUMNS
    assert row["start"] == "2026-01-31T23:59:52.000Z"
    assert row["end"] == "2026-01-31T23:59:54.000Z"
    assert row["detected_at"] == "2026-01-31T23:59:52.750Z"
    assert (row["start_s"], row["end_s"], row["peak"], row["peak_s"]) == (2.0, 4.0, 0.9, 2.5)
    assert (row["camera"], row["label"], row["model"]) == ("door", "wave", "motion")
    assert row["closed_by"] == ""


def test_same_updates_twice_change_nothing(tmp_path: Path) -> None:
    updates = [logged("wave", 2.0, None), logged("wave", 2.0, 4.0), logged("run", 3.0, None)]
    with EventLog.create(tmp_path) as log:
        log.write_updates(updates)
        before = rows(tmp_path)
        log.write_updates(updates)
        log.write_updates(updates[:1])  # a late update doesn't reopen a closed event
        assert rows(tmp_path) == before
        assert [row["end_s"] for row in before] == [4.0, None]
        assert log.count() == 2


def test_media_stay_when_the_event_is_updated_again(tmp_path: Path) -> None:
    one = logged("wave", 2.0, None)
    with EventLog.create(tmp_path) as log:
        log.write_updates([EventMedia(one.event.id, "clip.mp4", "snap.jpg", "late"), one])
        log.write_updates([one, logged("wave", 2.0, 4.0)])
        log.write_updates([EventMedia("unknown event", "x.mp4", "")])
    (row,) = rows(tmp_path)
    assert (row["clip"], row["snapshot"], row["clip_note"]) == ("clip.mp4", "snap.jpg", "late")
    assert row["end_s"] == 4.0
    assert rows(tmp_path, has_media=True) == [row]


def test_one_rejected_update_rejects_the_whole_batch(tmp_path: Path) -> None:
    broken = logged("run", 3.0, 4.0, peak=float("nan"))
    with EventLog.create(tmp_path) as log:
        with pytest.raises(RejectedUpdateError, match="NOT NULL"):
            log.write_updates([logged("wave", 2.0, 4.0), broken])
        with pytest.raises(RejectedUpdateError, match="surrogates"):
            log.write_updates([logged("\ud800", 2.0, 4.0)])
        assert log.count() == 0


def test_open_events_of_a_killed_run_end_where_they_were_last_seen(tmp_path: Path) -> None:
    killed = EventLog.create(tmp_path)
    one = logged("wave", 2.0, None)
    killed.write_updates([one])
    killed.write_updates([seen_until(one, 3.25)])
    assert rows(tmp_path)[0]["end"] is None
    killed.close()
    before = rows(tmp_path)  # no run is writing: a reader sees the same as the next run
    EventLog.create(tmp_path).close()
    (row,) = rows(tmp_path)
    assert before == [row]
    assert row["closed_by"] == "crash"
    assert row["end_s"] == 3.25
    assert row["end"] == "2026-01-31T23:59:53.250Z"


def test_late_updates_of_a_killed_run_are_closed_too(tmp_path: Path) -> None:
    one = logged("wave", 2.0, None)
    with EventLog.create(tmp_path) as killed:
        killed.write_updates([one])
    with EventLog.create(tmp_path) as log:
        log.write_updates([seen_until(one, 5.5), logged("run", 9.0, None)], run=killed.run)
        log.write_updates([logged("jump", 10.0, None)])
        log.close_crashed()
        found = [(row["label"], row["end_s"], row["closed_by"]) for row in rows(tmp_path)]
    assert found == [("wave", 5.5, "crash"), ("run", 10.0, "crash"), ("jump", None, "")]


def test_folder_is_locked_by_one_run(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write_updates([logged("wave", 2.0, None)])
        with pytest.raises(EventLogError, match="another run is writing"):
            EventLog.create(tmp_path)
        assert rows(tmp_path)[0]["end"] is None  # and it is unchanged
    EventLog.create(tmp_path).close()


def test_run_knows_the_start_of_the_previous_run(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        assert log.previous_start is None
    started_at = (tmp_path / "events.lock").stat().st_mtime
    with EventLog.create(tmp_path) as log:
        assert log.previous_start == started_at


def test_path_may_have_characters_that_are_special_in_urls(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c%20d"
    EventLog.create(folder).close()
    assert (folder / FILE).is_file()


def test_rows_can_be_filtered(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        for camera, label, start_s in (
            ("a", "wave", 0.0),
            ("b", "wave", 5.0),
            ("a/left", "run", 9.0),
        ):
            log.write_updates([logged(label, start_s, start_s + 1, camera=camera)])
    assert [row["start_s"] for row in rows(tmp_path)] == [0, 5, 9]
    assert [row["start_s"] for row in rows(tmp_path, camera="a")] == [0, 9]
    assert [row["start_s"] for row in rows(tmp_path, label="wave")] == [0, 5]
    since = START_UTC + timedelta(seconds=5)
    assert [row["start_s"] for row in rows(tmp_path, since=since)] == [5, 9]
    elsewhere = since.astimezone(timezone(timedelta(hours=9)))
    assert [row["start_s"] for row in rows(tmp_path, since=elsewhere)] == [5, 9]
    assert [row["start_s"] for row in rows(tmp_path, until=since)] == [0]
    assert rows(tmp_path, has_media=True) == []


def test_events_can_be_deleted(tmp_path: Path) -> None:
    updates = [logged("wave", float(start_s), start_s + 0.5) for start_s in range(1200)]
    with EventLog.create(tmp_path) as log:
        log.write_updates(updates)
        log.delete(one.event.id for one in updates[1:])
        assert [row["start_s"] for row in log.rows()] == [0]
        assert log.count() == 1


def test_newest_page_of_a_large_log_is_fast(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        for first in range(0, 100_000, 10_000):
            starts = map(float, range(first, first + 10_000))
            log.write_updates([logged("wave", start_s, start_s + 1) for start_s in starts])
        durations_s = []
        for _ in range(5):
            start = time.perf_counter()
            newest = log.page(limit=50)
            durations_s.append(time.perf_counter() - start)
    assert [row["start_s"] for row in newest] == list(range(99_999, 99_949, -1))
    assert min(durations_s) < 0.02  # a full scan is ten times slower


def test_sqlite_uses_a_synced_write_ahead_log(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        with closing(sqlite3.connect(tmp_path / FILE)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        with log._engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL


@pytest.mark.parametrize("use", [EventLog.open, EventLog.create])
def test_log_of_version_1_is_migrated(tmp_path: Path, use: object) -> None:
    sql(tmp_path, VERSION_1)
    with use(tmp_path) as log:  # type: ignore[operator]
        found = list(log.rows())
    assert [tuple(row) for row in found] == [COLUMNS, COLUMNS]
    for row in found:
        assert (row["detected_at"], row["detected_s"]) == (row["start"], row["start_s"])
        assert row["peak_s"] == row["start_s"]
        assert (row["clip"], row["snapshot"], row["clip_note"]) == ("", "", "")
    assert [row["closed_by"] for row in found] == ["", "crash"]
    assert found[1]["end_s"] == 7.5
    with EventLog.create(tmp_path) as log:
        log.write_updates([logged("wave", 2.0, 4.0), EventMedia("a", "clip.mp4", "")])
        assert [row["clip"] for row in log.rows()] == ["", "clip.mp4", ""]


def test_user_version_stops_older_programs(tmp_path: Path) -> None:
    EventLog.create(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_concurrent_migrations(tmp_path: Path) -> None:
    sql(tmp_path, VERSION_1)
    script = (
        "import sys; from pathlib import Path\n"
        "from stream.sinks.event_log.event_log import EventLog\n"
        "sys.stdin.readline()\n"
        "with EventLog.open(Path(sys.argv[1])) as log: print(log.count())"
    )
    readers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, tmp_path],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.write("\n")
        reader.stdin.flush()
    assert [reader.communicate(timeout=60) for reader in readers] == [("2\n", "")] * 4


def test_log_in_use_by_an_older_run_is_not_migrated(tmp_path: Path) -> None:
    with EventLog.create(tmp_path):
        sql(tmp_path, "DROP TABLE actionwatch_schema; PRAGMA user_version = 1")
        with pytest.raises(EventLogError, match="older Actionwatch is writing"):
            EventLog.open(tmp_path)


def test_log_of_a_newer_version_is_an_error(tmp_path: Path) -> None:
    EventLog.create(tmp_path).close()
    sql(tmp_path, "UPDATE actionwatch_schema SET version = 99")
    for use in (EventLog.open, EventLog.create):
        with pytest.raises(EventLogError, match="schema version 99, this program writes 3"):
            use(tmp_path)


def test_missing_log_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match=r"no event log in .*events\.sqlite is missing"):
        EventLog.open(tmp_path)
    (tmp_path / FILE).touch()
    with pytest.raises(EventLogError, match=r"no event log in .*events\.sqlite yet"):
        EventLog.open(tmp_path)


def test_damaged_log_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, but long enough to look like one" * 100)
    for use in (EventLog.open, EventLog.create):
        with pytest.raises(EventLogError, match=r"events\.sqlite can't be used: file is not a"):
            use(tmp_path)


def test_damage_after_the_header_is_named_in_the_error(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.write_updates([logged("wave", float(number), number + 0.5) for number in range(200)])
    file = tmp_path / FILE
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)
    with pytest.raises(EventLogError, match=r"events\.sqlite can't be used"):
        rows(tmp_path)


def test_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EventLogError, match="can't be used"):
        EventLog.create(tmp_path / "file" / "data")


def test_locked_log_is_an_error(tmp_path: Path) -> None:
    EventLog.create(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(EventLogError, match="database is locked"):
            EventLog.create(tmp_path, lock_timeout_s=0.05)
    EventLog.create(tmp_path).close()  # the failed attempt released the folder's lock


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql://u:geheim@ss@host/db", "must be a URL like"),
        ("postgresql://u:geheim@host:geheim/db", "must be a URL like"),
        ("postgresql://u:${NO_SUCH}@host/db", "NO_SUCH"),
        ("postgresql://u:geheim@127.0.0.1:9/db", "127.0.0.1:9/db can't be used"),
    ],
)
def test_unusable_database_url_is_an_error_without_secrets(
    tmp_path: Path, address: str, words: str
) -> None:
    pytest.importorskip("psycopg")
    for use in (EventLog.create, EventLog.open):
        with pytest.raises(EventLogError) as error:
            use(tmp_path, address)
        assert words in str(error.value)
        assert "geheim" not in str(error.value)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "database").exists()  # only a working URL is stored


def test_missing_driver_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(EventLogError, match=r"pip install 'actionwatch\[postgres\]'"):
        EventLog.create(tmp_path, "postgresql://127.0.0.1/db")


def test_folder_keeps_its_site_id(tmp_path: Path) -> None:
    EventLog.create(tmp_path).close()
    site = (tmp_path / "site").read_text()
    assert len(site.strip()) == 32
    EventLog.create(tmp_path).close()
    assert (tmp_path / "site").read_text() == site


# Prints the labels of a log as a user who may not write to its folder.
READ_AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from stream.sinks.event_log.event_log import EventLog

def labels(folder):
    with EventLog.open(Path(folder)) as log:
        return " ".join(row["label"] for row in log.rows())

labels(sys.argv[1])  # imports what the other user may not read
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(labels(sys.argv[1]))
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users of Unix")
def test_user_who_may_only_read_sees_the_events_of_a_running_and_of_an_ended_run() -> None:
    with tempfile.TemporaryDirectory() as name:  # unlike tmp_path not under a private folder
        folder = Path(name)

        def read() -> list[str]:
            folder.chmod(0o555)
            command = [sys.executable, "-c", READ_AS_ANOTHER_USER, name]
            result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            folder.chmod(0o755)
            assert result.returncode == 0, result.stderr
            return result.stdout.split()

        with EventLog.create(folder) as log:
            log.write_updates([logged("wave", 1.0, 2.0)])
            assert read() == ["wave"]
            log.write_updates([logged("jump", 3.0, 4.0)])
            assert read() == ["wave", "jump"]
        assert read() == ["wave", "jump"]
