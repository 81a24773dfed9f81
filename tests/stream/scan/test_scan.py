"""Videos scanned by a real worker process into a real event log."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Event as StopEvent
from typing import Any

import numpy as np
import pytest

from stream.config.config import Config
from stream.config.events import EventsConfig
from stream.pipeline import Pipeline
from stream.replay.replay import compare, replay
from stream.scan.manifest import plan
from stream.scan.scan import Progress, ScanResult, pending_jobs, scan
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.score_files import read_scores
from stream.synthetic.scene import Scene
from tests.motion_video import encode

STRIDE_S = 0.25


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return Config.model_validate(
        {"data": tmp_path_factory.mktemp("scan"), "dashboard": {"enabled": False}}
    )


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of a scene with at least two motions that the model recognizes reliably."""
    scene = Scene(7, width=320, height=240)
    file = tmp_path_factory.mktemp("video") / "hall way.mp4"
    return encode(file, (scene.render(number / 25) for number in range(300)), (320, 240), 25)


@pytest.fixture(scope="module")
def scanned(video: Path, settings: Config) -> Config:
    """The settings of a finished scan of the video; tests only read its folder."""
    (done,) = run([video], settings)
    assert done.events > 0
    assert done.failure == ""
    return settings


def run(files: list[Path], settings: Config) -> list[ScanResult]:
    return list(scan(plan(files, settings), settings, stop=StopEvent()))


def rows(settings: Config) -> list[dict[str, Any]]:
    with EventLog.open(settings.data) as log:
        return list(log.rows())


def into(settings: Config, folder: Path) -> Config:
    return settings.model_copy(update={"data": folder})


def test_two_scans_of_a_video_export_the_same_bytes(
    tmp_path: Path, video: Path, scanned: Config
) -> None:
    run([video], into(scanned, tmp_path))
    for suffix in (".jsonl", ".vtt"):
        first, second = (folder / f"hall_way{suffix}" for folder in (scanned.data, tmp_path))
        assert first.read_bytes() == second.read_bytes()
        assert len(first.read_bytes()) > 10


def test_scan_and_live_run_find_the_same_events(
    tmp_path: Path, video: Path, scanned: Config
) -> None:
    live = scanned.model_copy(
        update={
            "data": tmp_path / "live",
            "cameras": {"c": scanned.cameras["demo"].model_copy(update={"source": str(video)})},
        }
    )
    with Pipeline(live) as pipeline:
        seen = [(logged.event.label, logged.change) for logged in pipeline.events()]
    assert pipeline.failure == ""
    found, expected = rows(live), rows(scanned)
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    # A live run on a busy machine drops windows, and finds starts and ends in the next ones.
    (stored,) = read_scores(live.data)
    seen_s = [one.middle_s for one, _ in stored.predictions() if one is not None]
    off_s = float(np.diff(seen_s).max()) - STRIDE_S / 2
    for one, other in zip(found, expected, strict=True):
        assert one["start_s"] == pytest.approx(other["start_s"], abs=off_s)
        assert one["end_s"] == pytest.approx(other["end_s"], abs=off_s)
    # The iterator yields each start and each end.
    assert sorted(seen) == sorted(
        (row["label"], change) for row in found for change in ("start", "end")
    )


def test_every_window_is_scored_and_stored(scanned: Config) -> None:
    (folder,) = (scanned.data / "scores").iterdir()
    assert folder.name == "hall_way"
    difference = compare(rows(scanned), replay(scanned.data, EventsConfig()))
    assert (difference.added, difference.removed, difference.moved) == ((), (), ())
    assert difference.same == len(rows(scanned)) > 0


def test_complete_scan_is_not_repeated(tmp_path: Path, video: Path, scanned: Config) -> None:
    again = into(scanned, tmp_path / "log")
    assert pending_jobs(plan([video], again), again.data)
    shutil.copytree(scanned.data, again.data)
    assert pending_jobs(plan([video], again), again.data) == []
    stricter = again.model_copy(update={"events": EventsConfig(threshold=0.9)})
    assert pending_jobs(plan([video], stricter), stricter.data)
    run([video], again)  # a repeated scan replaces the events
    assert rows(again) == rows(scanned)


def test_interrupted_scan_starts_over(tmp_path: Path, video: Path, scanned: Config) -> None:
    interrupted = into(scanned, tmp_path / "log")
    stop = StopEvent()

    def stop_soon(progress: Progress) -> None:
        if progress.done_s > 5:
            stop.set()

    jobs = plan([video], interrupted)
    assert list(scan(jobs, interrupted, stop=stop, on_progress=stop_soon)) == []
    assert pending_jobs(jobs, interrupted.data) == jobs
    run([video], interrupted)
    assert rows(interrupted) == rows(scanned)


def test_unreadable_video_is_reported_and_the_others_are_scanned(
    tmp_path: Path, video: Path, settings: Config
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 1000)
    done = run([broken, video], into(settings, tmp_path / "log"))
    by_name = {one.job.name: one for one in done}
    assert "broken.mp4: not a video" in by_name["broken"].failure
    assert by_name["hall_way"].events > 0


def test_times_start_at_the_given_start_time(tmp_path: Path, video: Path, settings: Config) -> None:
    scanned = into(settings, tmp_path / "log")
    start = datetime(2026, 5, 1, 8, tzinfo=timezone(timedelta(hours=2)))
    list(scan(plan([video], scanned, start_utc=start), scanned, stop=StopEvent()))
    for line in (scanned.data / "hall_way.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["start"].startswith("2026-05-01T06:00:")
        assert float(row["start"][17:-1]) == pytest.approx(row["start_s"], abs=0.002)
