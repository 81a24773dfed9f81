"""Videos scanned by a real worker process into a real event log."""

from __future__ import annotations

import json
from collections.abc import Callable
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

WriteVideo = Callable[..., Path]
STRIDE_S = 0.25


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return Config.model_validate(
        {"data": tmp_path_factory.mktemp("scan"), "dashboard": {"enabled": False}}
    )


@pytest.fixture
def video(write_video: WriteVideo) -> Path:
    """Twelve seconds of a scene with at least two motions that the model recognizes reliably."""
    scene = Scene(7, width=320, height=240)
    return write_video([scene.render(number / 25) for number in range(300)], name="hall way.mp4")


def run(files: list[Path], settings: Config) -> list[ScanResult]:
    return list(scan(plan(files, settings), settings, stop=StopEvent()))


def rows(settings: Config) -> list[dict[str, Any]]:
    with EventLog.open(settings.data) as log:
        return list(log.rows())


def into(settings: Config, folder: Path) -> Config:
    return settings.model_copy(update={"data": folder})


def test_two_scans_of_a_video_export_the_same_bytes(
    tmp_path: Path, video: Path, settings: Config
) -> None:
    for name in ("one", "two"):
        (done,) = run([video], into(settings, tmp_path / name))
        assert done.events > 0
        assert done.failure == ""
    for suffix in (".jsonl", ".vtt"):
        first, second = (tmp_path / name / f"hall_way{suffix}" for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
        assert len(first.read_bytes()) > 10


def test_scan_and_live_run_find_the_same_events(
    tmp_path: Path, video: Path, settings: Config
) -> None:
    scanned = into(settings, tmp_path / "scanned")
    run([video], scanned)
    live = settings.model_copy(
        update={
            "data": tmp_path / "live",
            "cameras": {"c": settings.cameras["demo"].model_copy(update={"source": str(video)})},
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


def test_every_window_is_scored_and_stored(tmp_path: Path, video: Path, settings: Config) -> None:
    scanned = into(settings, tmp_path / "log")
    run([video], scanned)
    (folder,) = (scanned.data / "scores").iterdir()
    assert folder.name == "hall_way"
    difference = compare(rows(scanned), replay(scanned.data, EventsConfig()))
    assert (difference.added, difference.removed, difference.moved) == ((), (), ())
    assert difference.same == len(rows(scanned)) > 0


def test_complete_scan_is_not_repeated(tmp_path: Path, video: Path, settings: Config) -> None:
    scanned = into(settings, tmp_path / "log")
    assert pending_jobs(plan([video], scanned), scanned.data)
    run([video], scanned)
    assert pending_jobs(plan([video], scanned), scanned.data) == []
    stricter = scanned.model_copy(update={"events": EventsConfig(threshold=0.9)})
    assert pending_jobs(plan([video], stricter), stricter.data)
    before = rows(scanned)
    run([video], scanned)  # a repeated scan replaces the events
    assert rows(scanned) == before


def test_interrupted_scan_starts_over(tmp_path: Path, video: Path, settings: Config) -> None:
    scanned = into(settings, tmp_path / "log")
    stop = StopEvent()

    def stop_soon(progress: Progress) -> None:
        if progress.done_s > 5:
            stop.set()

    jobs = plan([video], scanned)
    assert list(scan(jobs, scanned, stop=stop, on_progress=stop_soon)) == []
    assert pending_jobs(jobs, scanned.data) == jobs
    run([video], scanned)
    run([video], into(settings, tmp_path / "whole"))
    assert rows(scanned) == rows(into(settings, tmp_path / "whole"))


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
