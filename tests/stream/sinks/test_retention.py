from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from stream.config.events import RetentionConfig
from stream.messages import EventMedia
from stream.runtime.metrics import Metrics
from stream.sinks.data_files import delete_media
from stream.sinks.event_log.database import OpenEventError, UnknownEventError
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.retention import PrunePlan, RetentionThread, delete_event, prune
from tests.data_folder import DAY_S, NOW, Folder
from tests.waiting import wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "data")
    yield folder
    folder.journal.close()
    folder.log.close()


def names(plan: PrunePlan) -> list[str]:
    """Folder and name of each deleted file."""
    return [f"{path.parent.name}/{path.name}" for path in plan.files]


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
    assert (pruned.events, names(pruned)) == ([], [f"clips/{old}.mp4"])
    assert (pruned.sizes("snapshot"), pruned.sizes("clip")) == ([], [1000])
    row = folder.row(old)
    assert (row["clip"], row["clip_note"]) == ("", "removed: older than 30 days")
    assert row["clip_start_s"] is None
    assert row["snapshot"] == f"{old}.jpg"
    assert folder.row(new)["clip"] == f"{new}.mp4"
    assert folder.files == {"1.jpg", "2.mp4", "2.jpg"}
    pruned = folder.prune(snapshots="12h", clips="1d")
    assert len(pruned.sizes("snapshot")) == 2
    assert folder.row(old)["clip_note"] == "removed: older than 30 days"
    assert folder.row(new)["clip_note"] == "removed: older than 1 day"
    assert folder.files == set()


def test_old_events_are_deleted_with_their_files(folder: Folder) -> None:
    old, new = folder.event(1, 11), folder.event(2, 9)
    open_id = folder.event(3, 12, closed=False)
    pruned = folder.prune(events="10d")
    assert pruned.events == [old]
    assert (len(pruned.sizes("clip")), len(pruned.sizes("snapshot"))) == (1, 1)
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
    assert [name.replace("0" * 30, "") for name in names(pruned)] == [
        "clips/63.mp4",  # of no event
        "clips/01.mp4",  # then the oldest events
        "snapshots/01.jpg",
        "clips/02.mp4",
        "snapshots/02.jpg",
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
    assert [name for name in names(pruned) if "scores" in name] == [
        "door/5.scores",
        "door/3.scores",
    ]
    sizes = [sum(pruned.sizes(kind)) for kind in ("scores", "clip", "snapshot")]
    assert sizes == [2000, 1000, 1000]
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
    assert len(pruned.sizes("clip")) == 1
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


def test_scores_are_deleted_by_age(folder: Folder) -> None:
    folder.file("scores/door/2026-03-01.scores", 30)
    folder.file("scores/door/left/2026-03-30.scores", 1)
    pruned = folder.prune()
    assert names(pruned) == ["door/2026-03-01.scores"]
    assert pruned.sizes("scores") == [1000]
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
    assert (pruned.sizes("clip"), len(pruned.sizes("snapshot"))) == ([], 1)
    assert folder.row(old)["clip"] == ""


def test_prune_while_a_run_is_writing(folder: Folder) -> None:
    folder.event(1, 31)
    with EventLog.open(folder.path) as log:
        pruned = prune(log, folder.path, RetentionConfig(events=DAY_S), now_utc=NOW)
    assert len(pruned.events) == 1
    folder.event(2, 1)
    assert folder.log.count() == 1


def test_retention_thread_prunes_periodically(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = RetentionConfig()
    folder.event(1, 31)
    retention = RetentionThread(
        folder.log, folder.path, config, Metrics(), interval_s=0.01, now_utc=lambda: NOW
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
        folder.log, folder.path, RetentionConfig(), Metrics(), interval_s=0.01, now_utc=lambda: NOW
    )
    with closing(sqlite3.connect(folder.path / "events.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        retention.start()
        wait_for(lambda: caplog.text.count("retention pass failed") > 1)
        assert folder.files == {"1.mp4", "1.jpg"}
    wait_for(lambda: not folder.files)
    retention.request_stop()
    assert retention.join(30)


def test_crash_of_a_retention_pass_is_counted_and_the_next_pass_retries(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.event(1, 31)
    metrics, crashes = Metrics(), iter([ValueError("no time")])

    def now_utc() -> datetime:
        for error in crashes:
            raise error
        return NOW

    retention = RetentionThread(
        folder.log, folder.path, RetentionConfig(), metrics, interval_s=0.01, now_utc=now_utc
    )
    retention.start()
    wait_for(lambda: not folder.files)
    retention.request_stop()
    assert retention.join(30)
    assert metrics.totals() == {"thread_crashes": 1}
    assert "ValueError: no time" in caplog.text


def test_retention_thread_that_was_not_started_is_joined_at_once(folder: Folder) -> None:
    retention = RetentionThread(folder.log, folder.path, RetentionConfig(), Metrics())
    retention.request_stop()
    assert retention.join(0)
