from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from stream.messages import EventMedia, LoggedEvent
from stream.sinks.event_log.journal import FILE, EventUpdate, Journal
from tests.event_samples import NASTY, logged

UPDATES: list[EventUpdate] = [
    logged("wave", 1.0, None),
    logged("wave", 1.0, 2.125),
    logged(NASTY, 3.0, 4.0, peak=0.1 + 0.2),
    logged("\ud800", 3.0, 4.0),
    EventMedia("a", "clip.mp4", "snap.jpg", "no frames before 3.0 s"),
]


def stored(journal: Journal, max_size: int = 1000) -> list[tuple[str, list[EventUpdate]]]:
    return list(journal.batches(max_size))


def progress(label: str, latest_s: float) -> LoggedEvent:
    update = logged(label, 1.0, None)
    return replace(update, event=replace(update.event, latest_s=latest_s), change="progress")


@contextmanager
def max_file_size(max_bytes: int) -> Iterator[None]:
    """Simulates a full disk: a write fails at the limit, after a part of its data was written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_updates_are_read_back_unchanged(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.append(UPDATES[:2], "run 1") == 0
    assert journal.append(UPDATES[2:], "run 2") == 0
    assert len(journal) == 5
    expected = [("run 1", UPDATES[:2]), ("run 2", UPDATES[2:])]
    assert stored(journal) == stored(Journal(tmp_path)) == expected
    assert [len(updates) for _, updates in stored(journal, max_size=2)] == [2, 2, 1]


def test_cleared_journal_is_empty(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(UPDATES, "run")
    journal.clear()
    assert (len(journal), stored(journal), list(tmp_path.iterdir())) == (0, [], [])
    journal.append(UPDATES[:1], "run")
    assert stored(journal) == [("run", UPDATES[:1])]
    Journal(tmp_path).clear()
    journal = Journal(tmp_path)
    journal.clear()  # clearing twice is allowed
    assert stored(journal) == []


def test_incomplete_last_line_is_cut_off(tmp_path: Path) -> None:
    Journal(tmp_path).append(UPDATES[:3], "run")
    file = tmp_path / FILE
    content = file.read_bytes()
    lengths = [len(line) for line in content.splitlines(keepends=True)]
    for end in range(len(content) - lengths[2] + 1, len(content), 7):
        file.write_bytes(content[:end])
        journal = Journal(tmp_path)
        journal.append(UPDATES[4:], "run")  # not after half a line
        assert stored(journal) == [("run", [*UPDATES[:2], UPDATES[4]])]
        assert journal.corrupted_lines == 0


def test_damaged_line_is_skipped_and_counted(tmp_path: Path) -> None:
    Journal(tmp_path).append(UPDATES, "run")
    file = tmp_path / FILE
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = b'{"run": "run", "event": {"id": 1}}\n'
    lines[2] = b"\xff\x00\n"
    file.write_bytes(b"".join(lines))
    journal = Journal(tmp_path)
    assert stored(journal) == [("run", [UPDATES[0], *UPDATES[3:]])]
    assert journal.corrupted_lines == 2


def test_full_journal_is_compacted_to_the_latest_update_of_each_event(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_updates=100)
    for number in range(60):
        assert journal.append([progress("wave", number), progress("run", number)], "run") == 0
    assert journal.append([EventMedia(UPDATES[0].event.id, "clip.mp4", "")], "run") == 0  # type: ignore[union-attr]
    assert len(journal) < 100
    ((_, updates),) = stored(Journal(tmp_path))
    latest = {
        one.event.label: one.event.latest_s for one in updates if isinstance(one, LoggedEvent)
    }
    assert latest == {"wave": 59, "run": 59}
    assert isinstance(updates[-1], EventMedia)


@pytest.mark.parametrize("bounds", [{"max_updates": 50}, {"max_bytes": 20_000}])
def test_full_journal_returns_the_number_of_lost_updates(tmp_path: Path, bounds: dict) -> None:
    journal = Journal(tmp_path, **bounds)
    starts = [float(start_s) for start_s in range(200)]
    lost = sum(journal.append([logged("wave", start_s, start_s + 1)], "run") for start_s in starts)
    fitting = [one.event.start_s for _, updates in stored(journal) for one in updates]  # type: ignore[union-attr]
    assert len(fitting) + lost == 200
    assert fitting == starts[: len(fitting)]
    assert len(fitting) == len(journal) >= 40
    assert (tmp_path / FILE).stat().st_size <= 20_000
    assert len(list(tmp_path.iterdir())) == 1
    journal.clear()
    assert journal.append(UPDATES, "run") == 0


def test_partial_write_on_a_full_disk_is_undone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(UPDATES[:2], "run")
    size = (tmp_path / FILE).stat().st_size
    with max_file_size(size + 100), pytest.raises(OSError, match="File too large"):
        journal.append(UPDATES[2:], "run")
    assert (tmp_path / FILE).stat().st_size == size
    assert len(journal) == 2
    journal.append(UPDATES[2:], "run")
    assert stored(journal) == [("run", UPDATES)]


def test_missing_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Journal(tmp_path / "missing").append(UPDATES, "run")
