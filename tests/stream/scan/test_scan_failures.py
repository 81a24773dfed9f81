"""Scans while something is wrong: with the log, the folder, the films, or their number."""

from __future__ import annotations

import os
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
from stream.scan.scan import Progress, Scanned, left_to_do, scan
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.score_log import read_scores
from stream.synthetic import Scene
from tests.event_samples import logged

WriteVideo = Callable[..., Path]


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return Config.model_validate({"data": tmp_path / "log", "dashboard": {"enabled": False}})


@pytest.fixture
def film(write_video: WriteVideo) -> Path:
    scene = Scene(7, width=320, height=240)
    return write_video([scene.picture(number / 25) for number in range(200)], name="door.mp4")


@pytest.fixture
def short(write_video: WriteVideo) -> Path:
    scene = Scene(8, width=64, height=64)
    return write_video([scene.picture(number / 25) for number in range(25)], name="short.mp4")


def run(files: list[Path], settings: Config) -> list[Scanned]:
    return list(scan(plan(files, settings), settings, stop=StopEvent()))


def rows(folder: Path) -> list[dict[str, Any]]:
    with EventLog.open(folder) as log:
        return list(log.rows())


class Locking:
    """Locks a log from the first progress on; opens it `after` so many, if ever."""

    def __init__(self, folder: Path, *, after: int | None) -> None:
        self._folder, self._after, self._seen = folder, after, 0
        self._lock: sqlite3.Connection | None = None

    def __call__(self, progress: Progress) -> None:
        if self._seen == 0:
            self._lock = sqlite3.connect(self._folder / "events.sqlite", isolation_level=None)
            self._lock.execute("BEGIN IMMEDIATE")
        self._seen += 1
        # The film is read to its end long before.
        if self._after is not None and progress.done_s > 7:
            self._after -= 1
            if self._after == 0:
                self.close()

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()


def test_events_are_not_lost_to_a_log_that_is_locked_for_a_while(
    tmp_path: Path, film: Path, settings: Config
) -> None:
    locked = settings.model_copy(update={"data": tmp_path / "locked"})
    with closing(Locking(locked.data, after=10)) as locking:
        wanted = plan([film], locked)
        (done,) = scan(wanted, locked, stop=StopEvent(), on_progress=locking)
    assert done.failure == ""
    run([film], settings)
    assert rows(locked.data) == rows(settings.data)
    assert done.events == len(rows(settings.data)) > 0
    exported = (locked.data / "door.jsonl").read_bytes()
    assert exported == (settings.data / "door.jsonl").read_bytes()


def test_a_film_whose_events_never_reached_the_log_is_not_done(
    film: Path, settings: Config
) -> None:
    wanted = plan([film], settings)
    with closing(Locking(settings.data, after=None)) as locking:
        (done,) = scan(wanted, settings, stop=StopEvent(), on_progress=locking, patience_s=0)
    assert "door.mp4: not all of its events could be logged" in done.failure
    assert "database is locked" in done.failure
    assert "\n" not in done.failure
    assert left_to_do(wanted, settings.data) == wanted
    # What waits in the journal does not come in beside the events of another policy.
    rarer = settings.model_copy(
        update={"events": settings.events.model_copy(update={"minimum": 60.0})}
    )
    (done,) = run([film], rarer)
    assert (done.failure, done.events, rows(settings.data)) == ("", 0, [])


def test_the_log_of_a_watch_is_left_alone(film: Path, settings: Config) -> None:
    with EventLog.create(settings.data) as log:
        log.save([logged("wave", 1.0, 2.0), logged("wave", 1.0, 2.0, camera="desk")])
    kept = settings.data / "scores" / "door" / "of-a-run.scores"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"scores")
    before = rows(settings.data)
    with pytest.raises(ScanError, match="holds the log of a watch with a camera door; give"):
        run([film], settings)
    assert rows(settings.data) == before
    assert len(before) == 2
    assert kept.read_bytes() == b"scores"
    assert not (settings.data / "scanned.json").exists()


def test_of_a_scan_that_is_stopped_nothing_stays(film: Path, settings: Config) -> None:
    run([film], settings)
    stop = StopEvent()

    def stop_soon(progress: Progress) -> None:
        if progress.done_s > 5:
            stop.set()

    assert list(scan(plan([film], settings), settings, stop=stop, on_progress=stop_soon)) == []
    assert rows(settings.data) == []
    assert read_scores(settings.data) == []
    assert not list(settings.data.glob("door*"))
    assert len(left_to_do(plan([film], settings), settings.data)) == 1


def test_scores_are_kept_whatever_the_retention_of_a_watch(film: Path, settings: Config) -> None:
    for number, retention in enumerate(({"scores": "0s"}, {"keep_free": "1000000TB"})):
        own = {
            "data": settings.data / str(number),
            "retention": RetentionConfig.model_validate(retention),
        }
        run([film], settings.model_copy(update=own))
        (kept,) = read_scores(settings.data / str(number))
        assert len(list(kept.predictions())) > 20


def test_an_export_that_cannot_be_written_is_told_and_the_others_go_on(
    film: Path, short: Path, settings: Config
) -> None:
    (settings.data / "door.jsonl").mkdir(parents=True)
    by_name = {one.wanted.name: one for one in run([film, short], settings)}
    assert "door.mp4: " in by_name["door"].failure
    assert "door.jsonl is no file" in by_name["door"].failure
    assert by_name["short"].failure == ""
    assert [one.name for one in left_to_do(plan([film, short], settings), settings.data)] == [
        "door"
    ]


def test_a_film_shorter_than_a_window_is_told(short: Path, settings: Config) -> None:
    (done,) = run([short], settings)
    assert (done.events, done.failure) == (0, "")
    assert done.note.endswith(
        "short.mp4: lasts 1.0 s, but the model looks at 1.6 s at a time: no window"
    )
    assert left_to_do(plan([short], settings), settings.data) == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_many_films_take_no_more_open_files_than_a_few(
    write_video: WriteVideo, settings: Config
) -> None:
    scene = Scene(9, width=64, height=64)
    pictures = [scene.picture(number / 25) for number in range(50)]
    # Of other first pictures each, so that none is a copy.
    films = [
        write_video(pictures[number:] + pictures[:number], name=f"{number}.mp4")
        for number in range(30)
    ]
    open_files: list[int] = []

    def counted(results: Iterator[Scanned]) -> Iterator[Scanned]:
        for one in results:
            open_files.append(len(os.listdir("/proc/self/fd")))
            yield one

    done = list(counted(scan(plan(films, settings), settings, stop=StopEvent())))
    assert [one.failure for one in done] == [""] * 30
    assert left_to_do(plan(films, settings), settings.data) == []
    assert len(read_scores(settings.data)) == 30
    assert max(open_files[5:]) - min(open_files[5:]) < 10
