from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stream.config.events import RetentionConfig
from stream.messages import Event, EventMedia, LoggedEvent
from stream.sinks.event_log.database import EventLogError, OpenEventError, UnknownEventError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.retention import (
    PruneResult,
    RetentionThread,
    clean_up_after_crash,
    delete_event,
    delete_media,
    prune,
)
from tests.waiting import wait_for

NOW = datetime(2026, 3, 31, 12, tzinfo=timezone.utc)
DAY_S = 86400.0


class Folder:
    """A data folder with events of different ages, and files of 1000 bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = EventLog.create(path, lock_timeout_s=0.02)
        self.journal = Journal(path)
        for name in ("clips", "snapshots", "scores"):
            (path / name).mkdir()

    def event(
        self, number: int, days_ago: float, label: str = "wave", *, closed: bool = True
    ) -> str:
        """Add an event with a clip and a snapshot. Returns its id."""
        name = f"{number:032x}"
        end_s = 2.0 if closed else None
        event = Event(name, "door", label, 0.0, 2.0, end_s, 1.0, 0.9, 1.0, 0.8)
        start_utc = NOW - timedelta(days=days_ago)
        media = EventMedia(name, f"{name}.mp4", f"{name}.jpg", "", 0.5)
        self.log.write_updates([LoggedEvent(event, "end", start_utc, "motion"), media])
        self.file(f"clips/{name}.mp4", days_ago)
        self.file(f"snapshots/{name}.jpg", days_ago)
        return name

    def file(self, name: str, days_ago: float) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(1000))
        moment = (NOW - timedelta(days=days_ago)).timestamp()
        os.utime(file, (moment, moment))
        return file

    def prune(self, *, dry_run: bool = False, **config: object) -> PruneResult:
        settings = RetentionConfig.model_validate(config)
        return prune(self.log, self.path, settings, now_utc=NOW, dry_run=dry_run)

    def row(self, name: str) -> dict:
        return next(row for row in self.log.rows() if row["id"] == name)

    @property
    def files(self) -> set[str]:
        """The names of clips, snapshots and score files, without leading zeros."""
        return {
            file.name.lstrip("0")
            for name in ("clips", "snapshots", "scores")
            for file in (self.path / name).rglob("*.*")
        }


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "data")
    yield folder
    folder.journal.close()
    folder.log.close()


def test_recent_files_stay(folder: Folder) -> None:
    folder.event(1, 29)
    pruned = folder.prune()
    assert not pruned
    assert str(pruned) == (
        "0 events, 0 clips (0.0 MB), 0 snapshots (0.0 MB), 0 score files (0.0 MB)"
    )
    assert folder.files == {"1.mp4", "1.jpg"}


def test_old_clips_are_deleted_and_noted_in_their_rows(folder: Folder) -> None:
    old, new = folder.event(1, 31), folder.event(2, 29)
    pruned = folder.prune(snapshots="90d")
    assert [path.name for path in pruned.clips] == [f"{old}.mp4"]
    assert (pruned.events, pruned.snapshots, pruned.clip_bytes) == ((), (), 1000)
    row = folder.row(old)
    assert (row["clip"], row["clip_note"]) == ("", "removed: older than 30 days")
    assert row["clip_start_s"] is None
    assert row["snapshot"] == f"{old}.jpg"
    assert folder.row(new)["clip"] == f"{new}.mp4"
    assert folder.files == {"1.jpg", "2.mp4", "2.jpg"}
    pruned = folder.prune(snapshots="12h", clips="1d")
    assert len(pruned.snapshots) == 2
    assert folder.row(old)["clip_note"] == "removed: older than 30 days"
    assert folder.row(new)["clip_note"] == "removed: older than 1 day"
    assert folder.files == set()


def test_old_events_are_deleted_with_their_files(folder: Folder) -> None:
    old, new = folder.event(1, 11), folder.event(2, 9)
    open_id = folder.event(3, 12, closed=False)
    pruned = folder.prune(events="10d")
    assert pruned.events == (old,)
    assert (len(pruned.clips), len(pruned.snapshots)) == (1, 1)
    assert [row["id"] for row in folder.log.rows()] == [open_id, new]
    assert folder.files == {"2.mp4", "2.jpg", "3.mp4", "3.jpg"}


def test_limits_per_label(folder: Folder) -> None:
    folder.event(1, 5, "wave")
    folder.event(2, 5, "fall")
    folder.event(3, 50, "fall")
    labels = {"fall": {"events": "40d", "clips": "40d", "snapshots": "4d"}}
    pruned = folder.prune(events="3d", clips="2d", labels=labels)
    assert [name[-2:] for name in pruned.events] == ["03", "01"]
    assert folder.files == {"2.mp4"}


def test_oldest_files_are_deleted_until_the_rest_fits(folder: Folder) -> None:
    ids = [folder.event(number, 20 - number) for number in range(1, 7)]
    folder.file(f"clips/{99:032x}.mp4", 25)  # of no event
    pruned = folder.prune(max_size="0.008 MB")
    assert [path.stem[-2:] for path in (*pruned.clips, *pruned.snapshots)] == [
        "63",
        "01",
        "02",
        "01",
        "02",
    ]
    assert folder.files == {f"{n}.{kind}" for n in range(3, 7) for kind in ("mp4", "jpg")}
    row = folder.row(ids[0])
    assert (row["clip"], row["snapshot"]) == ("", "")
    assert row["clip_note"] == "removed: clips, snapshots and scores were more than 8e-06 GB"
    assert not folder.prune(max_size="0.008 MB")


def test_size_limit_covers_clips_snapshots_and_scores(folder: Folder) -> None:
    folder.event(1, 2)
    folder.event(2, 4)
    for days_ago in (5, 3, 1):
        folder.file(f"scores/door/{days_ago}.scores", days_ago)
    assert not folder.prune(max_size="0.007 MB")
    planned = folder.prune(dry_run=True, max_size="0.003 MB")
    assert len(folder.files) == 7
    pruned = folder.prune(max_size="0.003 MB")
    assert pruned == planned
    assert [path.name for path in pruned.scores] == ["5.scores", "3.scores"]
    assert (pruned.score_bytes, pruned.clip_bytes, pruned.snapshot_bytes) == (2000, 1000, 1000)
    assert folder.files == {"1.mp4", "1.jpg", "1.scores"}


def test_score_files_in_use_are_not_deleted(folder: Folder) -> None:
    folder.file("scores/door/now.scores", 0.9 / 24)
    folder.file("scores/door/before.scores", 1.1 / 24)
    folder.event(1, 0.5 / 24)
    folder.prune(max_size="0.003 MB")
    assert folder.files == {"now.scores", "1.mp4", "1.jpg"}
    folder.prune(max_size="0.001 MB")
    assert folder.files == {"now.scores"}


def test_orphaned_files_are_deleted_by_their_own_age(folder: Folder) -> None:
    folder.file(f"clips/{1:032x}.mp4", 31)
    folder.file(f"clips/{2:032x}.mp4", 29)
    pruned = folder.prune()
    assert len(pruned.clips) == 1
    assert folder.files == {"2.mp4"}


def test_foreign_files_are_not_touched(folder: Folder) -> None:
    folder.event(1, 1)
    files = [
        folder.file(name, 400)
        for name in (
            "clips/holiday.mp4",
            f"clips/{1:032x}.mp4.part",
            f"clips/{1:032x}.mov",
            f"clips/deeper/{2:032x}.mp4",
            f"snapshots/{1:032x}.mp4",
            "scores/notes.txt",
            f"{1:032x}.mp4",
        )
    ]
    before = folder.row(f"{1:032x}")
    folder.log.write_updates([EventMedia(f"{1:032x}", "../../holiday.mp4", "")])
    folder.prune(clips="1h", snapshots="1h", scores="1h", events="1h", max_size="0.001 MB")
    assert all(file.exists() for file in files)
    assert before["clip"] == f"{1:032x}.mp4"


def test_delete_event_deletes_its_files_only(folder: Folder) -> None:
    deleted, stays = folder.event(1, 2), folder.event(2, 1)
    delete_event(folder.log, folder.path, deleted)
    assert [row["id"] for row in folder.log.rows()] == [stays]
    assert folder.files == {"2.mp4", "2.jpg"}
    with pytest.raises(UnknownEventError, match=f"event {deleted} is not in the log"):
        delete_event(folder.log, folder.path, deleted)


def test_media_written_after_the_event_was_deleted_are_deleted(folder: Folder) -> None:
    deleted, stays = folder.event(1, 2), folder.event(2, 1)
    delete_event(folder.log, folder.path, deleted)
    late = [EventMedia(name, f"{name}.mp4", f"{name}.jpg") for name in (deleted, stays)]
    (folder.path / "clips" / f"{deleted}.mp4").write_bytes(b"finished later")
    orphaned_media = folder.log.write_updates(late)
    assert orphaned_media == late[:1]
    delete_media(folder.path, orphaned_media[0])
    assert folder.files == {"2.mp4", "2.jpg"}


def test_delete_event_touches_only_files_that_we_wrote(folder: Folder) -> None:
    name, other = folder.event(1, 1), folder.file("holiday.mp4", 1)
    folder.log.write_updates([EventMedia(name, "../holiday.mp4", "")])
    delete_event(folder.log, folder.path, name)
    assert folder.log.count() == 0
    assert other.exists()


def test_open_event_cannot_be_deleted(folder: Folder) -> None:
    name = folder.event(1, 1, closed=False)
    with pytest.raises(OpenEventError, match="still open"):
        delete_event(folder.log, folder.path, name)
    assert folder.log.count() == 1
    assert folder.files == {"1.mp4", "1.jpg"}
    folder.log.close()  # no run is writing: the event was interrupted
    with EventLog.open(folder.path) as log:
        delete_event(log, folder.path, name)
        assert log.count() == 0
    assert folder.files == set()


def test_files_left_by_a_crash_during_delete_are_cleaned_up(folder: Folder) -> None:
    deleted, stays = folder.event(1, 0), folder.event(2, 0)
    folder.log.delete([deleted])  # then the program crashes
    clean_up_after_crash(folder.log, folder.journal, folder.path, NOW.timestamp() - DAY_S)
    assert folder.files == {f"{stays.lstrip('0')}.mp4", f"{stays.lstrip('0')}.jpg"}


def test_scores_are_deleted_by_age(folder: Folder) -> None:
    folder.file("scores/door/2026-03-01.scores", 30)
    folder.file("scores/door/left/2026-03-30.scores", 1)
    pruned = folder.prune()
    assert [path.name for path in pruned.scores] == ["2026-03-01.scores"]
    assert pruned.score_bytes == 1000
    assert folder.files == {"2026-03-30.scores"}


def test_dry_run_returns_the_same_result_and_changes_nothing(folder: Folder) -> None:
    for number in range(6):
        folder.event(number, 10 * number)
    folder.file("scores/door/2026-03-01.scores", 30)
    config = {"events": "45d", "clips": "25d", "snapshots": "15d", "max_size": "0.003 MB"}
    rows, files = list(folder.log.rows()), folder.files
    planned = folder.prune(dry_run=True, **config)
    assert (list(folder.log.rows()), folder.files) == (rows, files)
    assert folder.prune(**config) == planned
    assert planned
    assert len(folder.files) == 3
    assert not folder.prune(dry_run=True, **config)


def test_missing_file_is_ignored(folder: Folder) -> None:
    old = folder.event(1, 31)
    (folder.path / f"clips/{old}.mp4").unlink()
    pruned = folder.prune()
    assert (pruned.clips, len(pruned.snapshots)) == ((), 1)
    assert folder.row(old)["clip"] == ""


def test_prune_while_a_run_is_writing(folder: Folder) -> None:
    folder.event(1, 31)
    with EventLog.open(folder.path) as log:
        pruned = prune(log, folder.path, RetentionConfig(events=DAY_S), now_utc=NOW)
    assert len(pruned.events) == 1
    folder.event(2, 1)
    assert folder.log.count() == 1


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


def test_retention_thread_prunes_periodically(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = RetentionConfig()
    folder.event(1, 31)
    retention = RetentionThread(
        folder.log, folder.path, config, interval_s=0.01, now_utc=lambda: NOW
    )
    retention.start()
    wait_for(lambda: not folder.files)
    later = folder.file("scores/door/2026-03-01.scores", 30)
    wait_for(lambda: not later.exists())
    retention.request_stop()
    assert retention.join(30)
    assert "1 clips (0.0 MB)" in caplog.text


def test_retention_thread_survives_an_unavailable_log(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.event(1, 31)
    retention = RetentionThread(
        folder.log, folder.path, RetentionConfig(), interval_s=0.01, now_utc=lambda: NOW
    )
    with closing(sqlite3.connect(folder.path / "events.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        retention.start()
        wait_for(lambda: caplog.text.count("retention pass failed") > 1)
        assert folder.files == {"1.mp4", "1.jpg"}
    wait_for(lambda: not folder.files)
    retention.request_stop()
    assert retention.join(30)


def test_retention_thread_that_was_not_started_is_joined_at_once(folder: Folder) -> None:
    retention = RetentionThread(folder.log, folder.path, RetentionConfig())
    retention.request_stop()
    assert retention.join(0)
