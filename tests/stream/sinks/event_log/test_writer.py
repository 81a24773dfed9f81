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
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from stream.messages import LoggedEvent, Recorded
from stream.runtime.metrics import Metrics
from stream.sinks.event_log.database import FILE
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import FILE as JOURNAL_FILE
from stream.sinks.event_log.journal import Journal, News
from stream.sinks.event_log.writer import EventWriter
from tests.conftest import Clock
from tests.event_samples import logged
from tests.waiting import wait_for

ROOT = Path(__file__).parents[4]
KILLS = 50


@dataclass
class Written:
    """A log with its writer, and what that told."""

    log: EventLog
    writer: EventWriter
    metrics: Metrics
    told: list[LoggedEvent] = field(default_factory=list)

    def put(self, *news: News) -> None:
        for one in news:
            self.writer.put(one)

    @property
    def rows(self) -> list[tuple[str, float, float | None]]:
        return [(row["label"], row["start_s"], row["end_s"]) for row in self.log.rows()]


@contextmanager
def writing(
    folder: Path, *, journal: Journal | None = None, **options: object
) -> Iterator[Written]:
    """A writer that waits for nobody for long, and its log, until all is written."""
    metrics = Metrics()
    journal = Journal(folder) if journal is None else journal
    with EventLog.create(folder, patience_s=0.02) as log:
        written = Written(log, None, metrics)  # type: ignore[arg-type]
        options.setdefault("first_pause_s", 0.01)
        options.setdefault("longest_pause_s", 0.05)
        options.setdefault("on_written", lambda events: written.told.extend(events))
        written.writer = EventWriter(log, journal, metrics, **options)  # type: ignore[arg-type]
        written.writer.start()
        try:
            yield written
        finally:
            written.writer.tell_stop()
            assert written.writer.join(30)


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


def test_it_tells_what_was_recorded_of_events_that_are_gone(tmp_path: Path) -> None:
    unclaimed: list[Recorded] = []
    (event,) = many(1)
    recorded = Recorded(event.event.id, f"{event.event.id}.mp4", "")
    with writing(tmp_path, on_unclaimed=unclaimed.append) as written:
        written.writer.put(event)
        written.writer.put(recorded)
        wait_for(lambda: written.writer.waiting == 0)
        written.log.delete([event.event.id])
        written.writer.put(recorded)
        wait_for(lambda: written.writer.waiting == 0)
    assert unclaimed == [recorded]


def test_all_that_was_put_before_the_stop_is_written(tmp_path: Path) -> None:
    news = many(3000)
    with writing(tmp_path) as written:
        written.put(*news, Recorded(news[7].event.id, "clip.mp4", "snap.jpg"))
    assert written.told == news  # each once, in order
    assert written.writer.waiting == 0
    found = rows(tmp_path)
    assert [row["start_s"] for row in found] == list(range(3000))
    assert found[7]["clip"] == "clip.mp4"
    assert not (tmp_path / JOURNAL_FILE).exists()


def test_many_threads_may_put(tmp_path: Path) -> None:
    with writing(tmp_path) as written:
        threads = [
            threading.Thread(target=written.put, args=many(100, label))
            for label in ("wave", "run", "jump")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(rows(tmp_path)) == len(written.told) == 300


def test_a_database_that_is_locked_for_half_a_minute_loses_nothing(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    options = {"now": clock, "first_pause_s": 0.5, "longest_pause_s": 10.0}
    opened, closed = logged("run", 1.0, None), logged("run", 1.0, 9.0)
    with writing(tmp_path, **options) as written:
        written.put(opened)
        wait_for(lambda: len(written.told) == 1)
        with locked(tmp_path):
            written.put(closed)
            for second in range(30):
                written.put(logged("wave", float(second), second + 0.5))
                clock.seconds += 1.0
                wait_for(lambda: len(written.told) == second + 3)  # noqa: B023
            assert "database is locked" in written.writer.away
            assert written.writer.waiting == 31
        clock.seconds += 10.0
        wait_for(lambda: written.writer.waiting == 0)
        assert written.writer.away == ""
        assert len(written.rows) == 31
        assert ("run", 1.0, 9.0) in written.rows
    counts = written.metrics.totals()
    assert counts["journaled_events"] == 31
    assert 4 <= counts["log_retries"] <= 7  # 0.5, 1, 2, 4, 8 and 10 s apart
    assert "lost_events" not in counts
    assert written.told == [opened, closed, *many(30)]
    assert not (tmp_path / JOURNAL_FILE).exists()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_run_that_ends_while_the_log_is_locked_leaves_a_journal_for_the_next(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as written:
        written.put(logged("wave", 1.0, 2.0), logged("run", 3.0, None))
        wait_for(lambda: len(written.told) == 2)
        with locked(tmp_path):
            written.put(logged("run", 3.0, None), logged("jump", 5.0, 6.0))
            written.writer.tell_stop()
            assert written.writer.join(30)
        assert written.writer.waiting == 2
    with writing(tmp_path) as after:
        after.put(logged("wave", 7.0, 8.0))
    found = [(row["label"], row["end_s"], row["closed_by"]) for row in rows(tmp_path)]
    assert found == [
        ("wave", 2.0, ""),
        ("run", 4.0, "crash"),
        ("jump", 6.0, ""),
        ("wave", 8.0, ""),
    ]
    assert [one.event.label for one in after.told] == ["wave"]  # the others were told before


def test_an_event_that_only_the_journal_knows_is_closed_if_its_run_was_killed(
    tmp_path: Path,
) -> None:
    one = logged("wave", 1.0, None)
    Journal(tmp_path).append([one, replace(one, event=replace(one.event, latest_s=4.5))], "killed")
    with writing(tmp_path) as written:
        written.put(logged("run", 9.0, None))
        wait_for(lambda: len(written.told) == 1)
        assert [(row["label"], row["closed_by"]) for row in written.log.rows()] == [
            ("wave", "crash"),
            ("run", ""),
        ]
        assert written.rows[0] == ("wave", 1.0, 4.5)


def test_without_a_journal_either_news_are_remembered_until_there_is_room(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with writing(tmp_path / "data", journal=Journal(gone)) as written:
        with locked(tmp_path / "data"):
            written.put(*many(10))
            wait_for(lambda: len(written.told) == 10)
            assert written.writer.waiting == 10
        wait_for(lambda: written.writer.waiting == 0)
    assert len(rows(tmp_path / "data")) == 10
    assert written.metrics.total("lost_events") == 0


def test_what_is_remembered_is_bounded_and_what_is_lost_is_loud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "gone")
    with writing(tmp_path / "data", journal=journal, most_waiting=20) as written:
        with locked(tmp_path / "data"):
            wait_for(lambda: not written.writer.waiting)
            for one in many(30):
                written.put(one)
                wait_for(lambda: len(written.told) == one.event.start_s + 1)  # noqa: B023
            assert written.writer.waiting == 20
        wait_for(lambda: written.writer.waiting == 0)
    assert written.metrics.total("lost_events") == 10
    assert [row["start_s"] for row in rows(tmp_path / "data")] == list(range(20))
    assert sum("lost" in record.message for record in caplog.records) == 1


def test_what_waits_to_be_taken_is_bounded(tmp_path: Path) -> None:
    go_on, reached = threading.Event(), threading.Event()

    def hold(_: Sequence[LoggedEvent]) -> None:
        reached.set()
        assert go_on.wait(60)

    with writing(tmp_path, on_written=hold, most_waiting=20) as written:
        written.put(logged("run", 0.0, 1.0))
        assert reached.wait(60)
        written.put(*many(30))
        assert written.writer.waiting == 20
        go_on.set()
    assert written.metrics.total("lost_events") == 10
    assert len(rows(tmp_path)) == 21


def test_news_that_the_database_refuses_do_not_hold_up_the_others(tmp_path: Path) -> None:
    news = [*many(3), logged("run", 5.0, 6.0, peak=float("nan")), *many(3, "jump")]
    with writing(tmp_path) as written:
        with locked(tmp_path):
            written.put(*news)
            wait_for(lambda: len(written.told) == 7)
        wait_for(lambda: written.writer.waiting == 0)
    assert written.metrics.total("lost_events") == 1
    assert sorted(row["label"] for row in rows(tmp_path)) == ["jump"] * 3 + ["wave"] * 3


def test_who_is_told_may_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Sequence[LoggedEvent]) -> None:
        raise RuntimeError("not the log's")

    with writing(tmp_path, on_written=fail) as written:
        written.put(*many(3))
    assert len(rows(tmp_path)) == 3
    assert "not the log's" in caplog.text


def test_a_damaged_journal_is_counted(tmp_path: Path) -> None:
    Journal(tmp_path).append(many(2), "killed")
    file = tmp_path / JOURNAL_FILE
    file.write_bytes(b"damaged\n" + file.read_bytes() + b'{"torn')
    with writing(tmp_path) as written:
        pass
    assert written.metrics.total("lost_events") == 1
    assert len(rows(tmp_path)) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 megabytes."""
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


def test_a_full_disk_loses_nothing_once_there_is_room_again(small_disk: Path) -> None:
    ballast, news = small_disk / "ballast", many(2000)
    with writing(small_disk) as written:
        with pytest.raises(OSError, match="No space"):
            fill(ballast)
        written.put(*news)
        wait_for(lambda: len(written.told) == 2000)
        assert "is full; make room" in written.writer.away
        assert written.writer.waiting >= 1000
        ballast.unlink()
        wait_for(lambda: written.writer.waiting == 0)
    assert written.told == news
    assert [row["start_s"] for row in rows(small_disk)] == list(range(2000))
    assert written.metrics.total("lost_events") == 0


# Ends at once with its parent's pipe; forks a writer for each folder that it reads from there.
NURSERY = """
import os, sys
from datetime import datetime, timezone
from pathlib import Path
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.writer import EventWriter
from stream.sinks.event_log.journal import Journal
from stream.messages import Event, LoggedEvent, Recorded
from stream.runtime.metrics import Metrics

BEGAN = datetime(2026, 1, 31, tzinfo=timezone.utc)

def write(folder, seed, pipe):
    def told(events):
        lines = "".join(f"{one.event.id}\\n" for one in events if one.change == "end")
        os.write(pipe, lines.encode())
    with EventLog.create(folder) as log:
        writer = EventWriter(log, Journal(folder), Metrics(), on_written=told)
        writer.start()
        number = 0
        while True:
            number += 1
            at = float(number)
            def put(change, latest_s, end_s):
                event = Event(f"{seed}-{number}", "door", "wave", at, latest_s, end_s, at, 0.9,
                              at, 0.8)
                writer.put(LoggedEvent(event, change, BEGAN, "motion"))
            put("start", at, None)
            put("progress", at + 1, None)
            put("end", at + 2, at + 2)
            writer.put(Recorded(f"{seed}-{number}", f"{seed}-{number}.mp4", ""))
            while writer.waiting > 40:
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
    with os.fdopen(reading) as told:
        ids = told.read().split("\\n")[:-1]  # until the child is killed
    os.waitpid(child, 0)
    print(" ".join(ids), flush=True)
"""


@pytest.fixture
def nursery() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", NURSERY],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def write_until_killed(
    nursery: subprocess.Popen[str], folder: Path, seed: int, after_s: float
) -> set[str]:
    """Which events a process said that it had written before it was killed."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(f"{folder} {seed}\n")
    nursery.stdin.flush()
    child = int(nursery.stdout.readline())
    threading.Event().wait(after_s)  # a moment that nobody chose
    os.kill(child, signal.SIGKILL)
    return set(nursery.stdout.readline().split())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_killed_fifty_times_no_row_is_torn_and_no_closed_event_lost(
    tmp_path: Path, nursery: subprocess.Popen[str]
) -> None:
    chance = random.Random(6)
    closed: set[str] = set()
    for seed in range(KILLS):
        closed |= write_until_killed(nursery, tmp_path, seed, chance.uniform(0.0, 0.15))
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
