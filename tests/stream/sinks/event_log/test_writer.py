from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stream.messages import EventMedia, LoggedEvent
from stream.runtime.metrics import Metrics
from stream.sinks.event_log.database import FILE
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import FILE as JOURNAL_FILE
from stream.sinks.event_log.journal import EventUpdate, Journal
from stream.sinks.event_log.writer import EventWriter
from tests.conftest import Clock
from tests.event_samples import logged
from tests.waiting import wait_for
from tests.written_events import WrittenEvents

ROOT = Path(__file__).parents[4]
KILLS = 50


class FailingListener(WrittenEvents):
    def on_written(self, logged: LoggedEvent) -> None:
        raise RuntimeError("not the log's")


class BlockingListener(WrittenEvents):
    """Blocks the writer's thread until `resume` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.resume = threading.Event(), threading.Event()

    def on_written(self, logged: LoggedEvent) -> None:
        self.reached.set()
        assert self.resume.wait(60)


@dataclass
class Harness:
    """A log with its writer, and what the writer reported."""

    log: EventLog
    writer: EventWriter
    metrics: Metrics
    listener: WrittenEvents

    @property
    def written(self) -> list[LoggedEvent]:
        return self.listener.events

    def put(self, *updates: EventUpdate) -> None:
        for update in updates:
            self.writer.put(update)

    @property
    def rows(self) -> list[tuple[str, float, float | None]]:
        return [(row["label"], row["start_s"], row["end_s"]) for row in self.log.rows()]


@contextmanager
def writing(
    folder: Path,
    *,
    journal: Journal | None = None,
    listener: WrittenEvents | None = None,
    **options: object,
) -> Iterator[Harness]:
    """A writer with short timeouts, and its log. Stops when all updates are written."""
    metrics = Metrics()
    journal = Journal(folder) if journal is None else journal
    with EventLog.create(folder, lock_timeout_s=0.02) as log:
        options = {"min_retry_delay_s": 0.01, "max_retry_delay_s": 0.05, **options}
        listener = listener or WrittenEvents()
        writer = EventWriter(log, journal, metrics, listener=listener, **options)  # type: ignore[arg-type]
        harness = Harness(log, writer, metrics, listener)
        writer.start()
        try:
            yield harness
        finally:
            harness.writer.request_stop()
            assert harness.writer.join(30)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 10000")
        other.execute("BEGIN EXCLUSIVE")
        yield


def rows(folder: Path) -> list[dict]:
    with EventLog.open(folder) as log:
        return list(log.rows())


def many(count: int, label: str = "wave") -> list[LoggedEvent]:
    return [logged(label, float(number), number + 0.5) for number in range(count)]


def test_media_of_deleted_events_are_reported(tmp_path: Path) -> None:
    (event,) = many(1)
    recorded = EventMedia(event.event.id, f"{event.event.id}.mp4", "")
    with writing(tmp_path) as harness:
        harness.writer.put(event)
        harness.writer.put(recorded)
        wait_for(lambda: harness.writer.pending == 0)
        harness.log.delete([event.event.id])
        harness.writer.put(recorded)
        wait_for(lambda: harness.writer.pending == 0)
    assert harness.listener.orphaned_media == [recorded]


def test_updates_put_before_the_stop_are_written(tmp_path: Path) -> None:
    updates = many(3000)
    with writing(tmp_path) as harness:
        harness.put(*updates, EventMedia(updates[7].event.id, "clip.mp4", "snap.jpg"))
    assert harness.written == updates  # each once, in order
    assert harness.writer.pending == 0
    found = rows(tmp_path)
    assert [row["start_s"] for row in found] == list(range(3000))
    assert found[7]["clip"] == "clip.mp4"
    assert not (tmp_path / JOURNAL_FILE).exists()


def test_put_from_many_threads(tmp_path: Path) -> None:
    with writing(tmp_path) as harness:
        threads = [
            threading.Thread(target=harness.put, args=many(100, label))
            for label in ("wave", "run", "jump")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(rows(tmp_path)) == len(harness.written) == 300


def test_database_locked_for_half_a_minute_loses_nothing(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    options = {"now": clock, "min_retry_delay_s": 0.5, "max_retry_delay_s": 10.0}
    opened, closed = logged("run", 1.0, None), logged("run", 1.0, 9.0)
    with writing(tmp_path, **options) as harness:
        harness.put(opened)
        wait_for(lambda: len(harness.written) == 1)
        with locked(tmp_path):
            harness.put(closed)
            for second in range(30):
                harness.put(logged("wave", float(second), second + 0.5))
                clock.seconds += 1.0
                wait_for(lambda: len(harness.written) == second + 3)  # noqa: B023
            assert "database is locked" in harness.writer.unavailable_reason
            assert harness.writer.pending == 31
        clock.seconds += 12.5  # 10 s and its jitter
        wait_for(lambda: harness.writer.unavailable_reason == "")
        assert harness.writer.pending == 0
        assert len(harness.rows) == 31
        assert ("run", 1.0, 9.0) in harness.rows
    counts = harness.metrics.totals()
    assert counts["journaled_events"] == 31
    assert 4 <= counts["log_retries"] <= 7  # 0.5, 1, 2, 4, 8 and 10 s apart
    assert "lost_events" not in counts
    assert harness.written == [opened, closed, *many(30)]
    assert not (tmp_path / JOURNAL_FILE).exists()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_run_that_ends_while_the_log_is_locked_leaves_a_journal(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as harness:
        harness.put(logged("wave", 1.0, 2.0), logged("run", 3.0, None))
        wait_for(lambda: len(harness.written) == 2)
        with locked(tmp_path):
            harness.put(logged("run", 3.0, None), logged("jump", 5.0, 6.0))
            harness.writer.request_stop()
            assert harness.writer.join(30)
        assert harness.writer.pending == 2
    with writing(tmp_path) as after:
        after.put(logged("wave", 7.0, 8.0))
    found = [(row["label"], row["end_s"], row["closed_by"]) for row in rows(tmp_path)]
    assert found == [
        ("wave", 2.0, ""),
        ("run", 4.0, "crash"),
        ("jump", 6.0, ""),
        ("wave", 8.0, ""),
    ]
    assert [one.event.label for one in after.written] == [
        "wave"
    ]  # the first run reported the others


def test_journaled_event_of_a_killed_run_is_closed(
    tmp_path: Path,
) -> None:
    one = logged("wave", 1.0, None)
    with closing(Journal(tmp_path)) as journal:
        journal.append([one, replace(one, event=replace(one.event, latest_s=4.5))], "killed")
    with writing(tmp_path) as harness:
        harness.put(logged("run", 9.0, None))
        wait_for(lambda: len(harness.written) == 1)
        assert [(row["label"], row["closed_by"]) for row in harness.log.rows()] == [
            ("wave", "crash"),
            ("run", ""),
        ]
        assert harness.rows[0] == ("wave", 1.0, 4.5)


def test_without_a_journal_updates_wait_in_memory(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with writing(tmp_path / "data", journal=Journal(missing)) as harness:
        with locked(tmp_path / "data"):
            harness.put(*many(10))
            wait_for(lambda: len(harness.written) == 10)
            assert harness.writer.pending == 10
        wait_for(lambda: harness.writer.pending == 0)
    assert len(rows(tmp_path / "data")) == 10
    assert harness.metrics.total("lost_events") == 0


def test_memory_backlog_is_bounded_and_losses_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "missing")
    with writing(tmp_path / "data", journal=journal, max_pending=20) as harness:
        with locked(tmp_path / "data"):
            wait_for(lambda: not harness.writer.pending)
            for one in many(30):
                harness.put(one)
                wait_for(lambda: len(harness.written) == one.event.start_s + 1)  # noqa: B023
            assert harness.writer.pending == 20
        wait_for(lambda: harness.writer.pending == 0)
    assert harness.metrics.total("lost_events") == 10
    assert [row["start_s"] for row in rows(tmp_path / "data")] == list(range(20))
    assert sum("lost" in record.message for record in caplog.records) == 1


def test_inbox_is_bounded(tmp_path: Path) -> None:
    listener = BlockingListener()
    with writing(tmp_path, listener=listener, max_pending=20) as harness:
        harness.put(logged("run", 0.0, 1.0))
        assert listener.reached.wait(60)
        harness.put(*many(30))
        assert harness.writer.pending == 20
        listener.resume.set()
    assert harness.metrics.total("lost_events") == 10
    assert len(rows(tmp_path)) == 21


def test_rejected_update_does_not_block_the_others(tmp_path: Path) -> None:
    updates = [*many(3), logged("run", 5.0, 6.0, peak=float("nan")), *many(3, "jump")]
    with writing(tmp_path) as harness:
        with locked(tmp_path):
            harness.put(*updates)
            wait_for(lambda: len(harness.written) == 7)
        wait_for(lambda: harness.writer.pending == 0)
    assert harness.metrics.total("lost_events") == 1
    assert sorted(row["label"] for row in rows(tmp_path)) == ["jump"] * 3 + ["wave"] * 3


def test_failing_on_written_does_not_stop_the_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with writing(tmp_path, listener=FailingListener()) as harness:
        harness.put(*many(3))
    assert len(rows(tmp_path)) == 3
    assert "not the log's" in caplog.text


def test_unreadable_updates_in_the_journal_are_counted(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.append(many(3), "killed")
    with closing(sqlite3.connect(tmp_path / JOURNAL_FILE, isolation_level=None)) as other:
        other.execute("UPDATE queue SET text = 'damaged' WHERE id = 1")
    with writing(tmp_path) as harness:
        pass
    assert harness.metrics.total("lost_events") == 1
    assert len(rows(tmp_path)) == 2


def test_corrupted_journal_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / JOURNAL_FILE).write_bytes(b"not a database")
    with writing(tmp_path) as harness:
        harness.put(*many(2))
    assert harness.metrics.total("lost_events") == 1
    assert "the journal is corrupted" in caplog.text
    assert len(rows(tmp_path)) == 2


def test_crash_is_reported_and_nothing_more_is_accepted(tmp_path: Path) -> None:
    with writing(tmp_path) as harness:
        harness.put(replace(logged("wave", 1.0, 2.0), event=None))  # type: ignore[arg-type]
        wait_for(lambda: harness.listener.crashes)
        assert not harness.writer.put(logged("wave", 1.0, 2.0))
        assert harness.writer.is_dead
    (reason,) = harness.listener.crashes
    assert reason == harness.writer.unavailable_reason
    assert reason.startswith("event log crashed: ")
    assert harness.metrics.totals() == {"log_crashes": 1, "lost_events": 2}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("needs mount")
    command = [mount, "-t", "tmpfs", "-o", "size=16m", "actionwatch-test", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run([umount, "--lazy", str(folder)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        while True:
            opened.write(b"x" * 4096)


def test_full_disk_loses_nothing_once_space_is_free_again(small_disk: Path) -> None:
    ballast, updates = small_disk / "ballast", many(2000)
    with writing(small_disk) as harness:
        with pytest.raises(OSError, match="No space"):
            fill(ballast)
        harness.put(*updates)
        wait_for(lambda: len(harness.written) == 2000)
        assert "is full; free some disk space" in harness.writer.unavailable_reason
        assert harness.writer.pending >= 1000
        ballast.unlink()
        wait_for(lambda: harness.writer.pending == 0)
    assert harness.written == updates
    assert [row["start_s"] for row in rows(small_disk)] == list(range(2000))
    assert harness.metrics.total("lost_events") == 0


# Forks a writer for each folder that it reads from its stdin; ends when that is closed.
FORK_SERVER = """
import os, sys
from datetime import datetime, timezone
from pathlib import Path
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.writer import EventWriter
from stream.sinks.event_log.journal import Journal
from stream.messages import Event, EventMedia, LoggedEvent
from stream.runtime.metrics import Metrics
from tests.written_events import WrittenEvents

START_UTC = datetime(2026, 1, 31, tzinfo=timezone.utc)

class Report(WrittenEvents):
    def __init__(self, pipe):
        self._pipe = pipe

    def on_written(self, logged):
        if logged.change == "end":
            os.write(self._pipe, f"{logged.event.id}\\n".encode())

def write(folder, seed, pipe):
    with EventLog.create(folder) as log:
        writer = EventWriter(log, Journal(folder), Metrics(), listener=Report(pipe))
        writer.start()
        number = 0
        while True:
            number += 1
            at = float(number)
            def put(change, latest_s, end_s):
                event = Event(f"{seed}-{number}", "door", "wave", at, latest_s, end_s, at, 0.9,
                              at, 0.8)
                writer.put(LoggedEvent(event, change, START_UTC, "motion"))
            put("start", at, None)
            put("progress", at + 1, None)
            put("end", at + 2, at + 2)
            writer.put(EventMedia(f"{seed}-{number}", f"{seed}-{number}.mp4", ""))
            while writer.pending > 40:
                os.sched_yield()

print("ready", flush=True)
for line in sys.stdin:
    folder, seed = line.split()
    reading, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            write(Path(folder), seed, pipe)
        finally:
            os._exit(9)
    os.close(pipe)
    print(child, flush=True)
    with os.fdopen(reading, "rb") as reports:
        first = b"".join(reports.readline() for _ in range(3))
        print("reports" if first.endswith(b"\\n") else "killed", flush=True)
        ids = (first + reports.read()).decode().split("\\n")[:-1]  # until the child is killed
    os.waitpid(child, 0)
    print(" ".join(ids), flush=True)
"""


@pytest.fixture
def fork_server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", FORK_SERVER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def write_until_killed(
    fork_server: subprocess.Popen[str], folder: Path, seed: int, after_s: float
) -> set[str]:
    """The ids of events that a process reported as written before it was killed.

    It is killed `after_s` seconds after its start, or with an odd seed after three reports, for
    which a busy machine may need long.
    """
    assert fork_server.stdin is not None
    assert fork_server.stdout is not None
    fork_server.stdin.write(f"{folder} {seed}\n")
    fork_server.stdin.flush()
    child = int(fork_server.stdout.readline())
    if seed % 2:
        assert fork_server.stdout.readline() == "reports\n"
    threading.Event().wait(after_s)  # a random delay
    os.kill(child, signal.SIGKILL)
    if not seed % 2:
        fork_server.stdout.readline()
    return set(fork_server.stdout.readline().split())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_killed_fifty_times_without_a_damaged_row_or_a_lost_closed_event(
    tmp_path: Path, fork_server: subprocess.Popen[str]
) -> None:
    rng = random.Random(6)
    closed: set[str] = set()
    for seed in range(KILLS):
        closed |= write_until_killed(fork_server, tmp_path, seed, rng.uniform(0.0, 0.15))
        with EventLog.create(tmp_path) as log:
            found = list(log.rows())
        with closing(sqlite3.connect(tmp_path / FILE)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ended = {row["id"] for row in found if row["closed_by"] == ""}
        assert closed <= ended
        for row in found:
            assert row["end"] is not None
            assert row["clip"] in ("", f"{row['id']}.mp4")
            assert row["end_s"] == row["start_s"] + 2 or row["closed_by"] == "crash"
    assert len(closed) > KILLS
