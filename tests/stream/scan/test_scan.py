"""Films scanned by a real worker process into a real log."""

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
from stream.scan.scan import Progress, Scanned, left_to_do, scan
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.score_log import read_scores
from stream.synthetic import Scene

WriteVideo = Callable[..., Path]
STRIDE_S = 0.25


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return Config.model_validate(
        {"data": tmp_path_factory.mktemp("scan"), "dashboard": {"enabled": False}}
    )


@pytest.fixture
def film(write_video: WriteVideo) -> Path:
    """Twelve seconds of a scene with at least two motions that the model knows well."""
    scene = Scene(7, width=320, height=240)
    return write_video([scene.picture(number / 25) for number in range(300)], name="hall way.mp4")


def run(files: list[Path], settings: Config) -> list[Scanned]:
    return list(scan(plan(files, settings), settings, stop=StopEvent()))


def rows(settings: Config) -> list[dict[str, Any]]:
    with EventLog.open(settings.data) as log:
        return list(log.rows())


def into(settings: Config, folder: Path) -> Config:
    return settings.model_copy(update={"data": folder})


def test_two_scans_of_a_film_export_the_same_bytes(
    tmp_path: Path, film: Path, settings: Config
) -> None:
    for name in ("one", "two"):
        (done,) = run([film], into(settings, tmp_path / name))
        assert done.events > 0
        assert done.failure == ""
    for suffix in (".jsonl", ".vtt"):
        first, second = (tmp_path / name / f"hall_way{suffix}" for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
        assert len(first.read_bytes()) > 10


def test_a_scan_and_a_live_watch_find_the_same_events(
    tmp_path: Path, film: Path, settings: Config
) -> None:
    scanned = into(settings, tmp_path / "scanned")
    run([film], scanned)
    live = settings.model_copy(
        update={
            "data": tmp_path / "live",
            "cameras": {"c": settings.cameras["demo"].model_copy(update={"source": str(film)})},
        }
    )
    with Pipeline(live) as pipeline:
        seen = [(logged.event.label, logged.change) for logged in pipeline.events()]
    assert pipeline.failure == ""
    found, expected = rows(live), rows(scanned)
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    # A watch on a busy machine passes over windows, and sees starts and ends in the next ones.
    (kept,) = read_scores(live.data)
    seen_s = [one.middle_s for one, _ in kept.predictions() if one is not None]
    off_s = float(np.diff(seen_s).max()) - STRIDE_S / 2
    for one, other in zip(found, expected, strict=True):
        assert one["start_s"] == pytest.approx(other["start_s"], abs=off_s)
        assert one["end_s"] == pytest.approx(other["end_s"], abs=off_s)
    # Whoever iterates hears of each start and each end.
    assert sorted(seen) == sorted(
        (row["label"], change) for row in found for change in ("start", "end")
    )


def test_every_window_is_scored_and_kept(tmp_path: Path, film: Path, settings: Config) -> None:
    scanned = into(settings, tmp_path / "log")
    run([film], scanned)
    (folder,) = (scanned.data / "scores").iterdir()
    assert folder.name == "hall_way"
    difference = compare(rows(scanned), replay(scanned.data, EventsConfig()))
    assert (difference.added, difference.lost, difference.moved) == ((), (), ())
    assert difference.same == len(rows(scanned)) > 0


def test_what_was_scanned_is_not_scanned_again(
    tmp_path: Path, film: Path, settings: Config
) -> None:
    scanned = into(settings, tmp_path / "log")
    assert left_to_do(plan([film], scanned), scanned.data)
    run([film], scanned)
    assert left_to_do(plan([film], scanned), scanned.data) == []
    stricter = scanned.model_copy(update={"events": EventsConfig(enter=0.9)})
    assert left_to_do(plan([film], stricter), stricter.data)
    before = rows(scanned)
    run([film], scanned)  # again all the same: its events take the place of those from before
    assert rows(scanned) == before


def test_a_film_that_was_broken_off_is_begun_anew(
    tmp_path: Path, film: Path, settings: Config
) -> None:
    scanned = into(settings, tmp_path / "log")
    stop = StopEvent()

    def stop_soon(progress: Progress) -> None:
        if progress.done_s > 5:
            stop.set()

    wanted = plan([film], scanned)
    assert list(scan(wanted, scanned, stop=stop, on_progress=stop_soon)) == []
    assert left_to_do(wanted, scanned.data) == wanted
    run([film], scanned)
    run([film], into(settings, tmp_path / "whole"))
    assert rows(scanned) == rows(into(settings, tmp_path / "whole"))


def test_a_film_that_cannot_be_read_is_named_and_the_others_go_on(
    tmp_path: Path, film: Path, settings: Config
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film" * 1000)
    done = run([broken, film], into(settings, tmp_path / "log"))
    by_name = {one.wanted.name: one for one in done}
    assert "broken.mp4: not a video" in by_name["broken"].failure
    assert by_name["hall_way"].events > 0


def test_times_begin_when_one_says_that_the_film_began(
    tmp_path: Path, film: Path, settings: Config
) -> None:
    scanned = into(settings, tmp_path / "log")
    began = datetime(2026, 5, 1, 8, tzinfo=timezone(timedelta(hours=2)))
    list(scan(plan([film], scanned, began=began), scanned, stop=StopEvent()))
    for line in (scanned.data / "hall_way.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["start"].startswith("2026-05-01T06:00:")
        assert float(row["start"][17:-1]) == pytest.approx(row["start_s"], abs=0.002)
