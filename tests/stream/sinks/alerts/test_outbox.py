from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from stream.runtime.sqlite_queue import SqliteQueue
from stream.sinks.alerts.outbox import Outbox
from tests.alerting import alert
from tests.conftest import Clock
from tests.killed import ROOT, check_kills


def ids(outbox: Outbox) -> list[str]:
    """Ids of all alerts, which are removed."""
    found = []
    while (oldest := outbox.oldest()) is not None:
        found.append(oldest.id)
        outbox.mark_done(oldest)
    outbox.close()
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alerts" / "door.queue"


def test_only_undelivered_alerts_are_there_after_a_restart(file: Path) -> None:
    outbox = Outbox(file)
    for number in range(5):
        outbox.put(alert(number))
    outbox.mark_done(alert(0))
    outbox.mark_done(alert(2))
    reopened = Outbox(file)
    assert (len(reopened), reopened.oldest()) == (3, alert(1))
    assert ids(reopened) == ["e1-start", "e3-start", "e4-start"]
    assert Outbox(file).oldest() is None


def test_same_alert_is_queued_once(file: Path) -> None:
    outbox = Outbox(file)
    outbox.put(alert(1))
    outbox.put(alert(1))
    assert ids(Outbox(file)) == ["e1-start"]


def test_full_outbox_drops_the_oldest_on_disk_too(file: Path) -> None:
    outbox = Outbox(file, max_alerts=3)
    dropped = [outbox.put(alert(number)) for number in range(5)]
    assert dropped == [None, None, None, alert(0), alert(1)]
    assert ids(Outbox(file, max_alerts=3)) == ["e2-start", "e3-start", "e4-start"]


def test_smaller_limit_applies_to_the_stored_queue(file: Path) -> None:
    outbox = Outbox(file)
    for number in range(5):
        outbox.put(alert(number))
    assert ids(Outbox(file, max_alerts=2)) == ["e3-start", "e4-start"]


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_truncated_file_loses_only_the_last_alert(file: Path, cut: int) -> None:
    """As after a power failure: SQLite appends changes to a second file."""
    outbox = Outbox(file)
    for number in range(3):
        outbox.put(alert(number))
    changes = file.with_name(f"{file.name}-wal")
    copy, copied_changes = file.with_name("copy"), file.with_name("copy-wal")
    shutil.copy(file, copy)
    copied_changes.write_bytes(changes.read_bytes()[:-cut])
    outbox.close()
    reopened = Outbox(copy)
    reopened.put(alert(3))
    reopened.close()
    assert ids(Outbox(copy)) == ["e0-start", "e1-start", "e3-start"]


def test_corrupted_file_is_renamed_and_alerts_are_queued_again(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir()
    file.write_bytes(b"no queue" * 1000)
    outbox = Outbox(file)
    assert outbox.oldest() is None
    assert file.with_name("door.queue.corrupted").exists()
    assert "was renamed to door.queue.corrupted" in caplog.text
    outbox.put(alert(1))
    outbox.close()
    assert ids(Outbox(file)) == ["e1-start"]


def test_entry_of_another_version_is_skipped(file: Path) -> None:
    outbox = Outbox(file)
    outbox.put(alert(1))
    outbox.close()
    with closing(SqliteQueue(file, max_items=10)) as queue:
        queue.append([("future", '{"id": "future", "priority": 1}'), ("list", "[]")])
    outbox = Outbox(file)
    outbox.put(alert(2))
    outbox.close()
    assert ids(Outbox(file)) == ["e1-start", "e2-start"]


def test_file_stays_small(file: Path) -> None:
    outbox = Outbox(file)
    sizes = []
    for number in range(3000):
        outbox.put(alert(number))
        if number >= 10:
            outbox.mark_done(alert(number - 10))
        sizes.append(sum(one.stat().st_size for one in file.parent.iterdir()))
    outbox.close()
    assert max(sizes) < 5_000_000
    assert file.stat().st_size < 100_000
    assert len(ids(Outbox(file))) == 10


def test_alerts_stay_in_memory_while_the_folder_is_missing_and_are_written_later(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(file, now=clock)
    outbox.put(alert(0))
    shutil.rmtree(file.parent)
    file.parent.write_text("in the way")
    outbox.put(alert(1))
    outbox.put(alert(2))
    outbox.repair()
    assert len(outbox) == 3
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "queued in memory only" in error.message
    file.parent.unlink()
    clock.seconds += 11
    outbox.repair()
    outbox.put(alert(3))
    outbox.close()
    assert ids(Outbox(file)) == ["e0-start", "e1-start", "e2-start", "e3-start"]


FILL_DISK = """
import resource, sys
from pathlib import Path
from stream.sinks.alerts.outbox import Outbox
from tests.alerting import alert

clock = [0.0]
outbox = Outbox(Path(sys.argv[1]), now=lambda: clock[0])
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
for number in range(20):
    outbox.put(alert(number))
outbox.mark_done(alert(0))
print(len(outbox), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
clock[0] = 60.0
outbox.repair()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs file size limits of Unix")
def test_full_disk_loses_nothing_while_the_process_runs(file: Path) -> None:
    command = [sys.executable, "-c", FILL_DISK, str(file)]
    filled = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60)
    assert filled.stdout.strip() == "19"
    assert ids(Outbox(file)) == [f"e{number}-start" for number in range(1, 20)]


PUT_UNTIL_KILLED = """
import sys
from contextlib import closing
from pathlib import Path
from stream.sinks.alerts.outbox import Outbox
from tests.alerting import alert

outbox = Outbox(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), 1_000_000):
    outbox.put(alert(number))
    print("added", f"e{number}-start", flush=True)
    if number % 3:
        oldest = outbox.oldest()
        outbox.mark_done(oldest)
        print("removed", oldest.id, flush=True)
"""


def test_kill_at_any_moment_loses_nothing(file: Path) -> None:
    check_kills(PUT_UNTIL_KILLED, file, lambda number: f"e{number}-start")
