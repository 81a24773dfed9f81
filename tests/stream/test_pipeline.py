"""End to end: a generated video, a real worker process, a real database."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from stream.config.config import Config
from stream.pipeline import Pipeline
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.event_log.query import EventQuery
from stream.synthetic.scene import Scene
from tests.waiting import wait_for

WriteVideo = Callable[..., Path]


def config_for(folder: Path, *sources: str, **options: object) -> Config:
    return Config.model_validate(
        {
            "cameras": {f"c{number}": {"source": s} for number, s in enumerate(sources)},
            "data": folder / "data",
            "dashboard": {"enabled": False},
            **options,
        }
    )


def logged(config: Config) -> list[dict]:
    with EventLog.open(config.data) as log:
        return list(log.rows())


def video_of_motion(write_video: WriteVideo, seed: int) -> tuple[Path, float, float, str]:
    """A video of the first motion of a scene: file, start, end, label.

    The rest after it is longer than a window, so that the event ends before the video.
    """
    scene = Scene(seed, width=320, height=240)
    first = scene.ground_truth(10.0)[0]
    start_s = first.start_s - 1.5
    count = int((first.end_s + 2.4 - start_s) * 25)
    frames = [scene.render(start_s + number / 25) for number in range(count)]
    file = write_video(frames, fps=25, name=f"video-{seed}.mp4")
    return file, first.start_s - start_s, first.end_s - start_s, first.label


def test_event_of_a_video_is_logged(tmp_path: Path, write_video: WriteVideo) -> None:
    file, start_s, end_s, label = video_of_motion(write_video, seed=7)
    config = config_for(tmp_path, str(file))
    with Pipeline(config) as pipeline:
        assert pipeline.over.wait(60)
        pid = pipeline.worker_pool.pids[0]
    assert pipeline.failure == ""
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    overlaps = []
    for row in logged(config):
        overlap = min(end_s, row["end_s"]) - max(start_s, row["start_s"])
        union = max(end_s, row["end_s"]) - min(start_s, row["start_s"])
        overlaps.append((overlap / union, row["label"]))
    assert max(overlaps)[0] > 0.5
    assert max(overlaps)[1] == label
    assert (row["camera"], row["model"], row["closed_by"]) == ("c0", "motion", "")
    assert row["end"] > row["start"]
    # The last window of a file is processed too.
    totals = pipeline.metrics.totals()
    assert totals["windows"] + totals.get("skipped_windows", 0) >= (end_s + 2.4 - 1.6) / 0.25 - 1


def test_predictions_resume_after_the_worker_was_killed(
    tmp_path: Path,
) -> None:
    config = config_for(tmp_path, "demo:7")
    with Pipeline(config) as pipeline:
        wait_for(lambda: pipeline.metrics.total("windows") >= 3)
        first = pipeline.worker_pool.pids[0]
        # Stopped first, so that it has clips in flight when it is killed.
        os.kill(first, signal.SIGSTOP)
        before = pipeline.metrics.total("windows")
        frames = pipeline.metrics.total("frames")
        wait_for(lambda: pipeline.metrics.total("frames") >= frames + 25)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: pipeline.metrics.total("windows") >= before + 3)
        second = pipeline.worker_pool.pids[0]
    assert second != first
    totals = pipeline.metrics.totals()
    assert totals["worker_restarts"] == 1
    assert totals["lost_windows"] >= 1
    assert totals["skipped_windows"] >= 1
    assert all(row["end"] is not None for row in logged(config))


def test_windows_are_divided_among_several_workers(tmp_path: Path) -> None:
    config = config_for(tmp_path, "demo:7", "demo:8", worker={"count": 2, "precision": "fp32"})
    with Pipeline(config) as pipeline:
        wait_for(
            lambda: len(pipeline.worker_pool.pids) == 2 and pipeline.metrics.total("windows") >= 1
        )
        running, killed = pipeline.worker_pool.pids
        os.kill(killed, signal.SIGKILL)  # the other worker continues
        before = pipeline.metrics.total("windows")
        wait_for(lambda: pipeline.metrics.total("windows") >= before + 4)
        assert running in pipeline.worker_pool.pids
    assert pipeline.metrics.totals()["worker_restarts"] == 1
    assert pipeline.failure == ""


def test_failed_camera_does_not_stop_other_cameras(tmp_path: Path, write_video: WriteVideo) -> None:
    good = write_video([np.zeros((48, 64, 3), np.uint8)] * 60)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    with Pipeline(config_for(tmp_path, str(broken), str(good))) as pipeline:
        assert pipeline.over.wait(60)
    assert pipeline.cameras["c0"].state == "failed"
    assert pipeline.metrics.total("windows") >= 1
    assert "broken.mp4: not a video" in pipeline.failure  # reported at the end


def test_run_fails_when_all_cameras_have_failed(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    with Pipeline(config_for(tmp_path, str(broken))) as pipeline:
        assert pipeline.over.wait(60)
    assert "broken.mp4: not a video" in pipeline.failure


def test_video_shorter_than_a_window_has_no_predictions(
    tmp_path: Path, write_video: WriteVideo
) -> None:
    file = write_video([np.zeros((48, 64, 3), np.uint8)] * 10)
    with Pipeline(config_for(tmp_path, str(file))) as pipeline:
        assert pipeline.over.wait(60)
    assert pipeline.failure == ""
    assert pipeline.metrics.total("windows") == 0


def test_thresholds_for_an_unknown_label_are_an_error(tmp_path: Path) -> None:
    config = config_for(tmp_path, "demo:", events={"labels": {"juggle": {"threshold": 0.9}}})
    with Pipeline(config) as pipeline:
        assert pipeline.over.wait(60)
    assert "model motion has no label 'juggle'; it has still, move left" in pipeline.failure


def test_open_events_are_closed_in_the_log_at_shutdown(tmp_path: Path) -> None:
    config = config_for(
        tmp_path, "demo:7", events={"threshold": 0.05, "release_threshold": 0.0, "min_duration": 0}
    )
    with Pipeline(config) as pipeline:
        wait_for(lambda: pipeline.metrics.total("events") >= 1)
    rows = logged(config)
    assert rows
    assert {row["closed_by"] for row in rows} == {"stop"}


def test_wall_clock_step_is_counted(tmp_path: Path) -> None:
    offset = timedelta(0)
    config = config_for(tmp_path, "demo:7")
    with Pipeline(config, now_utc=lambda: datetime.now(timezone.utc) + offset) as pipeline:
        wait_for(lambda: pipeline.metrics.total("frames") >= 30)
        offset = timedelta(hours=1)
        wait_for(lambda: pipeline.metrics.total("wall_clock_steps") == 1)
    assert pipeline.failure == ""


def test_each_zone_has_its_own_events(tmp_path: Path) -> None:
    zones = {"left": {"points": [[0, 0], [0.5, 1]]}, "right": {"points": [[0.5, 0], [1, 1]]}}
    config = Config.model_validate(
        {
            "cameras": {"door": {"source": "demo:7", "zones": zones}},
            "events": {"threshold": 0.2, "release_threshold": 0.1, "min_duration": 0},
            "data": str(tmp_path / "data"),
        }
    )
    with Pipeline(config) as pipeline:
        counts = pipeline.metrics.counts
        wait_for(lambda: all(counts().get(("events", f"door/{zone}")) for zone in zones))
        assert set(pipeline.processor.views("door")) == {"left", "right"}
    totals = pipeline.metrics.counts()
    assert totals["windows", "door/left"] >= 1
    assert totals["windows", "door/right"] >= 1
    assert totals["frames", "door"] >= 30  # decoded once
    assert pipeline.metrics.totals("door")["windows"] == pipeline.metrics.total("windows")
    with EventLog.open(config.data) as log:
        assert {row["camera"] for row in log.rows(EventQuery(camera="door"))} == {
            "door/left",
            "door/right",
        }
        assert {row["camera"] for row in log.rows(EventQuery(camera="door/left"))} == {"door/left"}


def test_repeated_crashes_of_a_worker_end_the_run(tmp_path: Path) -> None:
    with Pipeline(config_for(tmp_path, "demo:7")) as pipeline:
        for _ in range(5):
            wait_for(lambda: pipeline.over.is_set() or len(pipeline.worker_pool.pids) == 1)
            for pid in pipeline.worker_pool.pids:
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: pipeline.over.is_set() or not pipeline.worker_pool.pids)
        assert pipeline.over.wait(60)
    assert "the worker ended 5 times within 5 minutes" in pipeline.failure
