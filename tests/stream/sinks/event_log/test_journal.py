from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stream.messages import EventMedia, LoggedEvent
from stream.sinks.event_log.journal import FILE, EventUpdate, Journal
from tests.event_samples import NASTY, logged
from tests.full_disk import max_file_size

UPDATES: list[EventUpdate] = [
    logged("wave", 1.0, None),
    logged("jump", 1.0, 2.125),
    logged(NASTY, 3.0, 4.0, peak=0.1 + 0.2),
    logged("\ud800", 3.0, 4.0),
    EventMedia("a", "clip.mp4", "snap.jpg", "no frames before 3.0 s"),
]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path)) as journal:
        yield journal


def in_order(journal: Journal, max_size: int = 1000) -> list[tuple[str, list[EventUpdate]]]:
    return list(journal.batches(max_size))


def stored(folder: Path) -> list[tuple[str, list[EventUpdate]]]:
    """What the next run finds."""
    with closing(Journal(folder)) as journal:
        return in_order(journal)


def progress(label: str, latest_s: float) -> LoggedEvent:
    update = logged(label, 1.0, None)
    return replace(update, event=replace(update.event, latest_s=latest_s), change="progress")


def test_updates_are_read_back_unchanged(tmp_path: Path, journal: Journal) -> None:
    assert journal.append(UPDATES[:2], "run 1") == 0
    assert journal.append(UPDATES[2:], "run 2") == 0
    assert len(journal) == 5
    expected = [("run 1", UPDATES[:2]), ("run 2", UPDATES[2:])]
    assert in_order(journal) == stored(tmp_path) == expected
    assert [len(updates) for _, updates in in_order(journal, max_size=3)] == [2, 1, 2]


def test_cleared_journal_is_empty(tmp_path: Path, journal: Journal) -> None:
    journal.append(UPDATES, "run")
    journal.clear()
    assert (len(journal), in_order(journal), list(tmp_path.iterdir())) == (0, [], [])
    journal.append(UPDATES[:1], "run")
    assert in_order(journal) == [("run", UPDATES[:1])]
    with closing(Journal(tmp_path)) as other:
        other.clear()
    journal.clear()  # clearing twice is allowed
    assert in_order(journal) == []


def test_updates_of_an_earlier_run_are_counted(tmp_path: Path, journal: Journal) -> None:
    journal.append(UPDATES, "killed")
    with closing(Journal(tmp_path)) as after:
        assert len(after) == 0
        after.recover()
        assert len(after) == 5


def test_torn_file_is_moved_aside_and_counted(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.append((logged("wave", float(start), start + 1) for start in range(50)), "run")
    file = tmp_path / FILE
    content = file.read_bytes()
    for end in range(100, len(content), 4000):
        file.write_bytes(content[:end])
        with closing(Journal(tmp_path)) as journal:
            journal.append(UPDATES[4:], "run")
            assert in_order(journal) == [("run", UPDATES[4:])]
            assert journal.corrupted == 1
            journal.clear()
        assert [file.name for file in tmp_path.iterdir()] == [f"{FILE}.corrupted"]


def test_unreadable_update_is_skipped_and_counted(tmp_path: Path, journal: Journal) -> None:
    journal.append(UPDATES, "run")
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        change = "UPDATE queue SET text = ? WHERE id = ?"
        other.execute(change, ('{"run": "run", "event": {"id": 1}}', 2))
        other.execute(change, (b"\xff\x00", 3))
    for _ in range(2):  # each is counted once
        assert in_order(journal) == [("run", [UPDATES[0], *UPDATES[3:]])]
        assert journal.corrupted == 2


def test_later_update_of_an_event_replaces_the_earlier_one(tmp_path: Path) -> None:
    with closing(Journal(tmp_path, max_updates=3)) as journal:
        for number in range(60):
            assert journal.append([progress("wave", number), progress("run", number)], "run") == 0
        assert journal.append([EventMedia("door-wave-1.0", "clip.mp4", "")], "run") == 0
        assert len(journal) == 3
    ((_, updates),) = stored(tmp_path)
    latest = {
        one.event.label: one.event.latest_s for one in updates if isinstance(one, LoggedEvent)
    }
    assert latest == {"wave": 59, "run": 59}
    assert isinstance(updates[-1], EventMedia)


@pytest.mark.parametrize("bounds", [{"max_updates": 50}, {"max_bytes": 50_000}])
def test_full_journal_returns_the_number_of_lost_updates(tmp_path: Path, bounds: dict) -> None:
    with closing(Journal(tmp_path, **bounds)) as journal:
        starts = [float(start_s) for start_s in range(200)]
        lost = sum(
            journal.append([logged("wave", start_s, start_s + 1)], "run") for start_s in starts
        )
        fitting = [one.event.start_s for _, updates in in_order(journal) for one in updates]  # type: ignore[union-attr]
        assert len(fitting) + lost == 200
        assert fitting == starts[: len(fitting)]
        assert len(fitting) == len(journal) >= 40
        journal.close()
        assert (tmp_path / FILE).stat().st_size <= 55_000
        assert len(list(tmp_path.iterdir())) == 1
        journal.clear()
        assert journal.append(UPDATES, "run") == 0


def test_partial_write_on_a_full_disk_is_undone(tmp_path: Path, journal: Journal) -> None:
    journal.append(UPDATES[:2], "run")
    many = [logged("wave", float(start_s), start_s + 1.0) for start_s in range(2, 500)]
    with max_file_size(60_000), pytest.raises(OSError, match="disk"):
        journal.append(many, "run")
    assert len(journal) == 2
    assert stored(tmp_path) == [("run", UPDATES[:2])]
    journal.append(UPDATES[2:], "run")
    assert stored(tmp_path) == [("run", UPDATES)]


def test_missing_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Journal(tmp_path / "missing").append(UPDATES, "run")
