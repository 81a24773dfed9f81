from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from stream.messages import EventMedia
from stream.sinks.crash_cleanup import clean_up_after_crash
from stream.sinks.event_log.database import EventLogError
from tests.data_folder import DAY_S, NOW, Folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "data")
    yield folder
    folder.journal.close()
    folder.log.close()


def test_files_left_by_a_crash_during_delete_are_cleaned_up(folder: Folder) -> None:
    deleted, stays = folder.event(1, 0), folder.event(2, 0)
    folder.log.delete([deleted])  # then the program crashes
    clean_up_after_crash(folder.log, folder.journal, folder.path, NOW.timestamp() - DAY_S)
    assert folder.files == {f"{stays.lstrip('0')}.mp4", f"{stays.lstrip('0')}.jpg"}


def test_files_of_a_killed_run_are_cleaned_up(folder: Folder) -> None:
    complete = folder.event(1, 1)
    since = (NOW - timedelta(days=2)).timestamp()
    folder.file(f"clips/{2:032x}.mp4", 1)
    folder.file(f"snapshots/{2:032x}.jpg", 1)
    folder.file(f"clips/{3:032x}.mp4.part", 1)
    folder.file(f"clips/{4:032x}.mp4", 3)  # older than the killed run
    folder.file("clips/holiday.mp4", 1)
    clean_up_after_crash(folder.log, folder.journal, folder.path, since, now_utc=lambda: NOW)
    assert folder.files == {"1.mp4", "1.jpg", "4.mp4", "holiday.mp4"}
    assert folder.row(complete)["clip_note"] == ""


def test_without_a_previous_run_only_unfinished_files_are_deleted(folder: Folder) -> None:
    folder.event(1, 1)
    folder.file(f"clips/{2:032x}.mp4", 1)
    folder.file(f"clips/{3:032x}.mp4.part", 1)
    clean_up_after_crash(folder.log, folder.journal, folder.path, None, now_utc=lambda: NOW)
    assert folder.files == {"1.mp4", "1.jpg", "2.mp4"}


def test_empty_log_is_not_trusted(folder: Folder) -> None:
    folder.file(f"clips/{2:032x}.mp4", 1)
    folder.file(f"clips/{3:032x}.mp4.part", 1)
    clean_up_after_crash(folder.log, folder.journal, folder.path, 0.0, now_utc=lambda: NOW)
    assert folder.files == {"2.mp4", "3.mp4.part"}


def test_files_of_events_in_the_journal_stay(folder: Folder) -> None:
    folder.event(1, 1)
    media = EventMedia(f"{2:032x}", f"{2:032x}.mp4", f"{2:032x}.jpg")
    folder.journal.append([media], "killed")
    for name in ("clips/{:032x}.mp4", "snapshots/{:032x}.jpg"):
        folder.file(name.format(2), 1)
    clean_up_after_crash(folder.log, folder.journal, folder.path, 0.0, now_utc=lambda: NOW)
    assert folder.files == {"1.mp4", "1.jpg", "2.mp4", "2.jpg"}


def test_unreadable_journal_is_named_in_the_error(folder: Folder) -> None:
    folder.event(1, 1)
    (folder.path / "journal.sqlite").mkdir()
    with pytest.raises(EventLogError, match=r"journal in .* can't be read: Is a directory"):
        clean_up_after_crash(folder.log, folder.journal, folder.path, 0.0, now_utc=lambda: NOW)


def test_missing_files_are_cleared_in_their_rows(folder: Folder) -> None:
    new, old, other = folder.event(1, 1), folder.event(2, 8), folder.event(3, 1)
    for name in (new, old):
        (folder.path / f"clips/{name}.mp4").unlink()
    (folder.path / f"snapshots/{other}.jpg").unlink()
    clean_up_after_crash(folder.log, folder.journal, folder.path, None, now_utc=lambda: NOW)
    row = folder.row(new)
    assert (row["clip"], row["clip_note"]) == ("", "removed: the file is missing")
    assert row["snapshot"] == f"{new}.jpg"
    assert folder.row(old)["clip"] == f"{old}.mp4"  # too old to be checked
    assert (folder.row(other)["clip"], folder.row(other)["snapshot"]) == (f"{other}.mp4", "")


def test_rows_stay_unchanged_if_the_clips_folder_is_missing(folder: Folder) -> None:
    name = folder.event(1, 1)
    (folder.path / "clips").rename(folder.path / "elsewhere")
    clean_up_after_crash(folder.log, folder.journal, folder.path, 0.0, now_utc=lambda: NOW)
    assert folder.row(name)["clip"] == f"{name}.mp4"
