from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stream.sinks.alerts.outbox import Outbox
from tests.alerting import alert
from tests.conftest import Clock

ROOT = Path(__file__).parents[4]


def ids(outbox: Outbox) -> list[str]:
    """All that waits, taken out."""
    found = []
    while (oldest := outbox.oldest()) is not None:
        found.append(oldest.id)
        outbox.done(oldest)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alerts" / "door.queue"


def test_what_waits_is_there_after_a_restart_and_what_is_done_is_not(file: Path) -> None:
    outbox = Outbox(file)
    for number in range(5):
        outbox.put(alert(number))
    outbox.done(alert(0))
    outbox.done(alert(2))
    again = Outbox(file)
    assert (len(again), again.oldest()) == (3, alert(1))
    assert ids(again) == ["e1-start", "e3-start", "e4-start"]
    assert Outbox(file).oldest() is None


def test_the_same_alert_waits_once(file: Path) -> None:
    outbox = Outbox(file)
    outbox.put(alert(1))
    outbox.put(alert(1))
    assert ids(Outbox(file)) == ["e1-start"]


def test_when_full_the_oldest_go_also_on_disk(file: Path) -> None:
    outbox = Outbox(file, most=3)
    dropped = [outbox.put(alert(number)) for number in range(5)]
    assert dropped == [None, None, None, alert(0), alert(1)]
    assert ids(Outbox(file, most=3)) == ["e2-start", "e3-start", "e4-start"]


def test_a_smaller_bound_holds_for_what_waited_before(file: Path) -> None:
    outbox = Outbox(file)
    for number in range(5):
        outbox.put(alert(number))
    assert ids(Outbox(file, most=2)) == ["e3-start", "e4-start"]


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_last_line_costs_that_line_only(
    file: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(file)
    for number in range(3):
        outbox.put(alert(number))
    file.write_bytes(file.read_bytes()[:-cut])
    torn = Outbox(file)
    torn.put(alert(3))
    assert ids(Outbox(file)) == ["e0-start", "e1-start", "e3-start"]
    assert "1 damaged lines" in caplog.text


def test_damage_in_the_middle_and_zeros_at_the_end_are_left_out(file: Path) -> None:
    outbox = Outbox(file)
    for number in range(3):
        outbox.put(alert(number))
    content = bytearray(file.read_bytes())
    content[content.index(b"e1-start")] ^= 1
    file.write_bytes(content + bytes(4096))
    assert ids(Outbox(file)) == ["e0-start", "e2-start"]


def test_the_file_stays_small(file: Path, clock: Clock) -> None:
    outbox = Outbox(file, now=clock)
    sizes = []
    for number in range(3000):
        outbox.put(alert(number))
        if number >= 10:
            outbox.done(alert(number - 10))
        outbox.tidy()
        sizes.append(file.stat().st_size)
    line = len(file.read_bytes().splitlines()[0])
    assert max(sizes) < 1100 * line
    assert len(ids(Outbox(file))) == 10


def test_while_the_folder_is_away_alerts_wait_in_memory_and_are_written_afterwards(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(file, now=clock)
    outbox.put(alert(0))
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("in the way")
    outbox.put(alert(1))
    outbox.put(alert(2))
    outbox.tidy()
    assert len(outbox) == 3
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "wait in memory only" in told.message
    file.parent.unlink()
    clock.seconds += 11
    outbox.tidy()
    outbox.put(alert(3))
    assert ids(Outbox(file)) == ["e0-start", "e1-start", "e2-start", "e3-start"]


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


FULL = """
import resource, sys
from pathlib import Path
from stream.sinks.alerts.outbox import Outbox
from tests.alerting import alert

clock = [0.0]
outbox = Outbox(Path(sys.argv[1]), now=lambda: clock[0])
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
for number in range(20):
    outbox.put(alert(number))
outbox.done(alert(0))
print(len(outbox), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
clock[0] = 60.0
outbox.tidy()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are of Unix")
def test_a_disk_that_gets_full_loses_nothing_while_the_process_lives(file: Path) -> None:
    with run(FULL, file) as process:
        assert process.communicate(timeout=60)[0].strip() == "19"
    assert ids(Outbox(file)) == [f"e{number}-start" for number in range(1, 20)]


BUSY = """
import sys
from pathlib import Path
from stream.sinks.alerts.outbox import Outbox
from tests.alerting import alert

outbox = Outbox(Path(sys.argv[1]), spare_lines=10)
for number in range(int(sys.argv[2]), 1_000_000):
    outbox.put(alert(number))
    print("came", f"e{number}-start", flush=True)
    if number % 3:
        oldest = outbox.oldest()
        outbox.done(oldest)
        print("done", oldest.id, flush=True)
    outbox.tidy()
"""


def test_killed_at_any_moment_it_loses_nothing(file: Path) -> None:
    chance, waiting, number = random.Random(6), list[str](), 0
    for _ in range(6):
        with run(BUSY, file, number) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(chance.randrange(5, 400))]
            process.kill()
            lines += process.stdout.readlines()
        for line in lines:
            if not line.endswith("\n"):  # torn by the kill
                continue
            what, alert_id = line.split()
            if what == "came":
                waiting.append(alert_id)
                number = int(alert_id[1:-6]) + 1
            else:
                waiting.remove(alert_id)
        copy = file.with_name("copy")
        shutil.copy(file, copy)
        found = ids(Outbox(copy))
        # What was done last may not have been printed any more.
        assert found in (waiting, waiting[1:], [*waiting, f"e{number}-start"])
        waiting, number = found, number + 1
