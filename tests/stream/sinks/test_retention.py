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
from stream.messages import Event, LoggedEvent, Recorded
from stream.sinks.event_log.database import EventLogError, OpenEventError, UnknownEventError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.journal import Journal
from stream.sinks.retention import Keeper, Pruned, delete_event, forget_recorded, prune, sweep
from tests.waiting import wait_for

NOW = datetime(2026, 3, 31, 12, tzinfo=timezone.utc)
DAY_S = 86400.0


class Folder:
    """A data folder with events of so many days ago, and files of 1000 bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = EventLog.create(path, patience_s=0.02)
        for name in ("clips", "snapshots", "scores"):
            (path / name).mkdir()

    def event(
        self, number: int, days_ago: float, label: str = "wave", *, closed: bool = True
    ) -> str:
        """With clip and snapshot; its id."""
        name = f"{number:032x}"
        end_s = 2.0 if closed else None
        event = Event(name, "door", label, 0.0, 2.0, end_s, 1.0, 0.9, 1.0, 0.8)
        began = NOW - timedelta(days=days_ago)
        recorded = Recorded(name, f"{name}.mp4", f"{name}.jpg", "", 0.5)
        self.log.save([LoggedEvent(event, "end", began, "motion"), recorded])
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

    def prune(self, *, dry_run: bool = False, **config: object) -> Pruned:
        settings = RetentionConfig.model_validate(config)
        return prune(self.log, self.path, settings, now_utc=NOW, dry_run=dry_run)

    def row(self, name: str) -> dict:
        return next(row for row in self.log.rows() if row["id"] == name)

    @property
    def files(self) -> set[str]:
        """Those that were recorded or kept, by their names without the zeros in front."""
        return {
            file.name.lstrip("0")
            for name in ("clips", "snapshots", "scores")
            for file in (self.path / name).rglob("*.*")
        }


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "data")
    yield made
    made.log.close()


def test_without_anything_old_nothing_goes(folder: Folder) -> None:
    folder.event(1, 29)
    gone = folder.prune()
    assert not gone
    assert str(gone) == ("0 events, 0 clips (0.0 MB), 0 snapshots (0.0 MB), 0 score files (0.0 MB)")
    assert folder.files == {"1.mp4", "1.jpg"}


def test_old_clips_go_and_their_rows_say_so(folder: Folder) -> None:
    old, new = folder.event(1, 31), folder.event(2, 29)
    gone = folder.prune(snapshots="90d")
    assert [path.name for path in gone.clips] == [f"{old}.mp4"]
    assert (gone.events, gone.snapshots, gone.clip_bytes) == ((), (), 1000)
    row = folder.row(old)
    assert (row["clip"], row["clip_note"]) == ("", "removed: older than 30 days")
    assert row["clip_start_s"] is None
    assert row["snapshot"] == f"{old}.jpg"
    assert folder.row(new)["clip"] == f"{new}.mp4"
    assert folder.files == {"1.jpg", "2.mp4", "2.jpg"}
    gone = folder.prune(snapshots="12h", clips="1d")
    assert len(gone.snapshots) == 2
    assert folder.row(old)["clip_note"] == "removed: older than 30 days"
    assert folder.row(new)["clip_note"] == "removed: older than 1 day"
    assert folder.files == set()


def test_old_events_go_with_all_that_belongs_to_them(folder: Folder) -> None:
    old, new = folder.event(1, 11), folder.event(2, 9)
    going_on = folder.event(3, 12, closed=False)
    gone = folder.prune(events="10d")
    assert gone.events == (old,)
    assert (len(gone.clips), len(gone.snapshots)) == (1, 1)
    assert [row["id"] for row in folder.log.rows()] == [going_on, new]
    assert folder.files == {"2.mp4", "2.jpg", "3.mp4", "3.jpg"}


def test_labels_have_times_of_their_own(folder: Folder) -> None:
    folder.event(1, 5, "wave")
    folder.event(2, 5, "fall")
    folder.event(3, 50, "fall")
    labels = {"fall": {"events": "40d", "clips": "40d", "snapshots": "4d"}}
    gone = folder.prune(events="3d", clips="2d", labels=labels)
    assert [name[-2:] for name in gone.events] == ["03", "01"]
    assert folder.files == {"2.mp4"}


def test_the_oldest_go_until_the_rest_fits(folder: Folder) -> None:
    ids = [folder.event(number, 20 - number) for number in range(1, 7)]
    folder.file(f"clips/{99:032x}.mp4", 25)  # of no event
    gone = folder.prune(size="0.008 MB")
    assert [path.stem[-2:] for path in (*gone.clips, *gone.snapshots)] == [
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
    assert not folder.prune(size="0.008 MB")


def test_clips_snapshots_and_scores_fit_together(folder: Folder) -> None:
    folder.event(1, 2)
    folder.event(2, 4)
    for days_ago in (5, 3, 1):
        folder.file(f"scores/door/{days_ago}.scores", days_ago)
    assert not folder.prune(size="0.007 MB")
    planned = folder.prune(dry_run=True, size="0.003 MB")
    assert len(folder.files) == 7
    gone = folder.prune(size="0.003 MB")
    assert gone == planned
    assert [path.name for path in gone.scores] == ["5.scores", "3.scores"]
    assert (gone.score_bytes, gone.clip_bytes, gone.snapshot_bytes) == (2000, 1000, 1000)
    assert folder.files == {"1.mp4", "1.jpg", "1.scores"}


def test_scores_that_a_run_may_be_writing_are_not_taken_from_it(folder: Folder) -> None:
    folder.file("scores/door/now.scores", 0.9 / 24)
    folder.file("scores/door/before.scores", 1.1 / 24)
    folder.event(1, 0.5 / 24)
    folder.prune(size="0.003 MB")
    assert folder.files == {"now.scores", "1.mp4", "1.jpg"}
    folder.prune(size="0.001 MB")
    assert folder.files == {"now.scores"}


def test_files_of_no_event_go_by_their_own_age(folder: Folder) -> None:
    folder.file(f"clips/{1:032x}.mp4", 31)
    folder.file(f"clips/{2:032x}.mp4", 29)
    gone = folder.prune()
    assert len(gone.clips) == 1
    assert folder.files == {"2.mp4"}


def test_what_is_not_ours_is_not_touched(folder: Folder) -> None:
    folder.event(1, 1)
    kept = [
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
    folder.log.save([Recorded(f"{1:032x}", "../../holiday.mp4", "")])
    folder.prune(clips="1h", snapshots="1h", scores="1h", events="1h", size="0.001 MB")
    assert all(file.exists() for file in kept)
    assert before["clip"] == f"{1:032x}.mp4"


def test_a_person_deletes_an_event_with_its_files_and_nothing_else(folder: Folder) -> None:
    gone, stays = folder.event(1, 2), folder.event(2, 1)
    delete_event(folder.log, folder.path, gone)
    assert [row["id"] for row in folder.log.rows()] == [stays]
    assert folder.files == {"2.mp4", "2.jpg"}
    with pytest.raises(UnknownEventError, match=f"event {gone} is not in the log"):
        delete_event(folder.log, folder.path, gone)


def test_what_is_recorded_of_an_event_after_it_was_deleted_goes_too(folder: Folder) -> None:
    gone, stays = folder.event(1, 2), folder.event(2, 1)
    delete_event(folder.log, folder.path, gone)
    late = [Recorded(name, f"{name}.mp4", f"{name}.jpg") for name in (gone, stays)]
    (folder.path / "clips" / f"{gone}.mp4").write_bytes(b"written to its end")
    unclaimed = folder.log.save(late)
    assert unclaimed == late[:1]
    forget_recorded(folder.path, unclaimed[0])
    assert folder.files == {"2.mp4", "2.jpg"}


def test_deleting_an_event_touches_only_files_that_we_wrote(folder: Folder) -> None:
    name, other = folder.event(1, 1), folder.file("holiday.mp4", 1)
    folder.log.save([Recorded(name, "../holiday.mp4", "")])
    delete_event(folder.log, folder.path, name)
    assert folder.log.count() == 0
    assert other.exists()


def test_an_event_that_goes_on_cannot_be_deleted(folder: Folder) -> None:
    name = folder.event(1, 1, closed=False)
    with pytest.raises(OpenEventError, match="still goes on"):
        delete_event(folder.log, folder.path, name)
    assert folder.log.count() == 1
    assert folder.files == {"1.mp4", "1.jpg"}
    folder.log.close()  # nobody writes any more: it was cut off
    with EventLog.open(folder.path) as log:
        delete_event(log, folder.path, name)
        assert log.count() == 0
    assert folder.files == set()


def test_what_a_crash_leaves_of_a_deleted_event_is_swept_away(folder: Folder) -> None:
    name, stays = folder.event(1, 0), folder.event(2, 0)
    folder.log.delete([name])  # and then came the crash
    sweep(folder.log, folder.path, NOW.timestamp() - DAY_S)
    assert folder.files == {f"{stays.lstrip('0')}.mp4", f"{stays.lstrip('0')}.jpg"}


def test_scores_go_by_age(folder: Folder) -> None:
    folder.file("scores/door/2026-03-01.scores", 30)
    folder.file("scores/door/left/2026-03-30.scores", 1)
    gone = folder.prune()
    assert [path.name for path in gone.scores] == ["2026-03-01.scores"]
    assert gone.score_bytes == 1000
    assert folder.files == {"2026-03-30.scores"}


def test_a_dry_run_says_the_same_and_changes_nothing(folder: Folder) -> None:
    for number in range(6):
        folder.event(number, 10 * number)
    folder.file("scores/door/2026-03-01.scores", 30)
    config = {"events": "45d", "clips": "25d", "snapshots": "15d", "size": "0.003 MB"}
    rows, files = list(folder.log.rows()), folder.files
    planned = folder.prune(dry_run=True, **config)
    assert (list(folder.log.rows()), folder.files) == (rows, files)
    assert folder.prune(**config) == planned
    assert planned
    assert len(folder.files) == 3
    assert not folder.prune(dry_run=True, **config)


def test_a_file_that_is_gone_already_is_no_obstacle(folder: Folder) -> None:
    old = folder.event(1, 31)
    (folder.path / f"clips/{old}.mp4").unlink()
    gone = folder.prune()
    assert (gone.clips, len(gone.snapshots)) == ((), 1)
    assert folder.row(old)["clip"] == ""


def test_it_may_be_done_while_a_run_writes(folder: Folder) -> None:
    folder.event(1, 31)
    with EventLog.open(folder.path) as log:
        gone = prune(log, folder.path, RetentionConfig(events=DAY_S), now_utc=NOW)
    assert len(gone.events) == 1
    folder.event(2, 1)
    assert folder.log.count() == 1


def test_a_run_begins_without_what_a_killed_one_left(folder: Folder) -> None:
    whole = folder.event(1, 1)
    since = (NOW - timedelta(days=2)).timestamp()
    folder.file(f"clips/{2:032x}.mp4", 1)
    folder.file(f"snapshots/{2:032x}.jpg", 1)
    folder.file(f"clips/{3:032x}.mp4.part", 1)
    folder.file(f"clips/{4:032x}.mp4", 3)  # older than the killed run
    folder.file("clips/holiday.mp4", 1)
    sweep(folder.log, folder.path, since, now_utc=lambda: NOW)
    assert folder.files == {"1.mp4", "1.jpg", "4.mp4", "holiday.mp4"}
    assert folder.row(whole)["clip_note"] == ""


def test_without_a_former_run_only_unfinished_files_go(folder: Folder) -> None:
    folder.event(1, 1)
    folder.file(f"clips/{2:032x}.mp4", 1)
    folder.file(f"clips/{3:032x}.mp4.part", 1)
    sweep(folder.log, folder.path, None, now_utc=lambda: NOW)
    assert folder.files == {"1.mp4", "1.jpg", "2.mp4"}


def test_a_log_without_events_is_not_trusted(folder: Folder) -> None:
    folder.file(f"clips/{2:032x}.mp4", 1)
    folder.file(f"clips/{3:032x}.mp4.part", 1)
    sweep(folder.log, folder.path, 0.0, now_utc=lambda: NOW)
    assert folder.files == {"2.mp4", "3.mp4.part"}


def test_files_of_events_in_the_journal_are_not_swept_away(folder: Folder) -> None:
    folder.event(1, 1)
    recorded = Recorded(f"{2:032x}", f"{2:032x}.mp4", f"{2:032x}.jpg")
    Journal(folder.path).append([recorded], "killed")
    for name in ("clips/{:032x}.mp4", "snapshots/{:032x}.jpg"):
        folder.file(name.format(2), 1)
    sweep(folder.log, folder.path, 0.0, now_utc=lambda: NOW)
    assert folder.files == {"1.mp4", "1.jpg", "2.mp4", "2.jpg"}


def test_a_journal_that_can_t_be_read_is_named(folder: Folder) -> None:
    folder.event(1, 1)
    (folder.path / "journal.jsonl").mkdir()
    with pytest.raises(EventLogError, match=r"journal in .* can't be read: Is a directory"):
        sweep(folder.log, folder.path, 0.0, now_utc=lambda: NOW)


def test_rows_don_t_name_files_that_are_gone(folder: Folder) -> None:
    new, old, other = folder.event(1, 1), folder.event(2, 8), folder.event(3, 1)
    for name in (new, old):
        (folder.path / f"clips/{name}.mp4").unlink()
    (folder.path / f"snapshots/{other}.jpg").unlink()
    sweep(folder.log, folder.path, None, now_utc=lambda: NOW)
    row = folder.row(new)
    assert (row["clip"], row["clip_note"]) == ("", "removed: the file is gone")
    assert row["snapshot"] == f"{new}.jpg"
    assert folder.row(old)["clip"] == f"{old}.mp4"  # that long ago it is left alone
    assert (folder.row(other)["clip"], folder.row(other)["snapshot"]) == (f"{other}.mp4", "")


def test_a_missing_disk_makes_no_rows_forget_their_clips(folder: Folder) -> None:
    name = folder.event(1, 1)
    (folder.path / "clips").rename(folder.path / "elsewhere")
    sweep(folder.log, folder.path, 0.0, now_utc=lambda: NOW)
    assert folder.row(name)["clip"] == f"{name}.mp4"


def test_a_keeper_looks_again_and_again(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    config = RetentionConfig()
    folder.event(1, 31)
    keeper = Keeper(folder.log, folder.path, config, every_s=0.01, now_utc=lambda: NOW)
    keeper.start()
    wait_for(lambda: not folder.files)
    later = folder.file("scores/door/2026-03-01.scores", 30)
    wait_for(lambda: not later.exists())
    keeper.tell_stop()
    assert keeper.join(30)
    assert "1 clips (0.0 MB)" in caplog.text


def test_a_keeper_outlives_a_log_that_is_away(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.event(1, 31)
    keeper = Keeper(folder.log, folder.path, RetentionConfig(), every_s=0.01, now_utc=lambda: NOW)
    with closing(sqlite3.connect(folder.path / "events.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        keeper.start()
        wait_for(lambda: caplog.text.count("nothing was removed this time") > 1)
        assert folder.files == {"1.mp4", "1.jpg"}
    wait_for(lambda: not folder.files)
    keeper.tell_stop()
    assert keeper.join(30)


def test_a_keeper_that_was_not_started_is_joined_at_once(folder: Folder) -> None:
    keeper = Keeper(folder.log, folder.path, RetentionConfig())
    keeper.tell_stop()
    assert keeper.join(0)
