"""Scan failures: of the event log, the folder and the videos; and many videos."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event as StopEvent
from typing import Any

import pytest

from stream.config.config import Config
from stream.config.events import RetentionConfig
from stream.scan.manifest import ScanError, plan
from stream.scan.scan import Progress, ScanResult, pending_jobs, scan
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.score_files import read_scores
from stream.synthetic.scene import Scene
from tests.event_samples import logged
from tests.motion_video import encode

WriteVideo = Callable[..., Path]


def make_settings(data: Path) -> Config:
    return Config.model_validate({"data": data, "dashboard": {"enabled": False}})


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return make_settings(tmp_path / "log")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = Scene(7, width=320, height=240)
    file = tmp_path_factory.mktemp("video") / "door.mp4"
    return encode(file, (scene.render(number / 25) for number in range(200)), (320, 240), 25)


@pytest.fixture(scope="module")
def scanned(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished scan of the video; tests only read it."""
    folder = tmp_path_factory.mktemp("scanned")
    (done,) = run([video], make_settings(folder))
    assert (done.failure, done.events > 0) == ("", True)
    return folder


@pytest.fixture
def short(write_video: WriteVideo) -> Path:
    scene = Scene(8, width=64, height=64)
    return write_video([scene.render(number / 25) for number in range(25)], name="short.mp4")


def run(files: list[Path], settings: Config) -> list[ScanResult]:
    return list(scan(plan(files, settings), settings, stop=StopEvent()))


def rows(folder: Path) -> list[dict[str, Any]]:
    with EventLog.open(folder) as log:
        return list(log.rows())


class Locking:
    """Locks the event log at the first progress; unlocks it `after` so many, or never."""

    def __init__(self, folder: Path, *, after: int | None) -> None:
        self._folder, self._after, self._seen = folder, after, 0
        self._lock: sqlite3.Connection | None = None

    def __call__(self, progress: Progress) -> None:
        if self._seen == 0:
            self._lock = sqlite3.connect(self._folder / "events.sqlite", isolation_level=None)
            self._lock.execute("BEGIN IMMEDIATE")
        self._seen += 1
        # The video has been read to its end by then.
        if self._after is not None and progress.done_s > 7:
            self._after -= 1
            if self._after == 0:
                self.close()

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()


def test_temporarily_locked_log_loses_no_events(
    video: Path, settings: Config, scanned: Path
) -> None:
    with closing(Locking(settings.data, after=10)) as locking:
        jobs = plan([video], settings)
        (done,) = scan(jobs, settings, stop=StopEvent(), on_progress=locking)
    assert done.failure == ""
    assert rows(settings.data) == rows(scanned)
    assert done.events == len(rows(scanned)) > 0
    exported = (settings.data / "door.jsonl").read_bytes()
    assert exported == (scanned / "door.jsonl").read_bytes()


def test_video_is_incomplete_if_its_events_are_not_logged(video: Path, settings: Config) -> None:
    jobs = plan([video], settings)
    with closing(Locking(settings.data, after=None)) as locking:
        (done,) = scan(jobs, settings, stop=StopEvent(), on_progress=locking, log_timeout_s=0)
    assert "door.mp4: not all of its events were logged" in done.failure
    assert "database is locked" in done.failure
    assert "\n" not in done.failure
    assert pending_jobs(jobs, settings.data) == jobs
    # Events in the journal are not mixed with the events of another policy.
    rarer = settings.model_copy(
        update={"events": settings.events.model_copy(update={"min_duration": 60.0})}
    )
    (done,) = run([video], rarer)
    assert (done.failure, done.events, rows(settings.data)) == ("", 0, [])


def test_log_of_a_live_run_is_not_changed(video: Path, settings: Config) -> None:
    with EventLog.create(settings.data) as log:
        log.write_updates([logged("wave", 1.0, 2.0), logged("wave", 1.0, 2.0, camera="desk")])
    stored = settings.data / "scores" / "door" / "of-a-run.scores"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"scores")
    before = rows(settings.data)
    with pytest.raises(ScanError, match="holds the log of a live run with a camera door; give"):
        run([video], settings)
    assert rows(settings.data) == before
    assert len(before) == 2
    assert stored.read_bytes() == b"scores"
    assert not (settings.data / "scanned.json").exists()


def test_stopped_scan_leaves_no_results(video: Path, settings: Config, scanned: Path) -> None:
    shutil.copytree(scanned, settings.data)
    stop = StopEvent()

    def stop_soon(progress: Progress) -> None:
        if progress.done_s > 5:
            stop.set()

    assert list(scan(plan([video], settings), settings, stop=stop, on_progress=stop_soon)) == []
    assert rows(settings.data) == []
    assert read_scores(settings.data) == []
    assert not list(settings.data.glob("door*"))
    assert len(pending_jobs(plan([video], settings), settings.data)) == 1


def test_scores_are_stored_whatever_the_retention(video: Path, settings: Config) -> None:
    retention = RetentionConfig.model_validate({"scores": "0s", "keep_free": "1000000TB"})
    run([video], settings.model_copy(update={"retention": retention}))
    (stored,) = read_scores(settings.data)
    assert len(list(stored.predictions())) > 20


def test_failed_export_is_reported_and_the_others_are_written(
    video: Path, short: Path, settings: Config
) -> None:
    (settings.data / "door.jsonl").mkdir(parents=True)
    by_name = {one.job.name: one for one in run([video, short], settings)}
    assert "door.mp4: " in by_name["door"].failure
    assert "door.jsonl is not a file" in by_name["door"].failure
    assert by_name["short"].failure == ""
    assert [one.name for one in pending_jobs(plan([video, short], settings), settings.data)] == [
        "door"
    ]


def test_video_shorter_than_a_clip_is_reported(short: Path, settings: Config) -> None:
    (done,) = run([short], settings)
    assert (done.events, done.failure) == (0, "")
    assert done.note.endswith(
        "short.mp4: no full window: the video (1.0 s) is shorter than the model's 1.6 s clip"
    )
    assert pending_jobs(plan([short], settings), settings.data) == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_number_of_videos_does_not_change_number_of_open_files(
    write_video: WriteVideo, settings: Config
) -> None:
    scene = Scene(9, width=64, height=64)
    frames = [scene.render(number / 25) for number in range(50)]
    # Each starts with another frame, so that none is a copy.
    videos = [
        write_video(frames[number:] + frames[:number], name=f"{number}.mp4") for number in range(30)
    ]
    open_files: list[int] = []

    def counted(results: Iterator[ScanResult]) -> Iterator[ScanResult]:
        for one in results:
            open_files.append(len(os.listdir("/proc/self/fd")))
            yield one

    done = list(counted(scan(plan(videos, settings), settings, stop=StopEvent())))
    assert [one.failure for one in done] == [""] * 30
    assert pending_jobs(plan(videos, settings), settings.data) == []
    assert len(read_scores(settings.data)) == 30
    assert max(open_files[5:]) - min(open_files[5:]) < 10
