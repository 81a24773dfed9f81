"""Configuration changes during a run: synthetic cameras, a real worker, a real event log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.config.config import Config
from stream.config.load import ConfigError
from stream.pipeline import Pipeline
from stream.reconfigure import reconfigure
from stream.sinks.event_log.event_log import EventLog
from stream.synthetic.scene import Scene
from tests.waiting import wait_for

ALWAYS = {"threshold": 0.05, "release_threshold": 0.0, "min_duration": 0}  # an event opens at once


def settings(folder: Path, *cameras: str, **options: Any) -> Config:
    values = {
        "cameras": {name: {"source": f"demo:{7 + index}"} for index, name in enumerate(cameras)},
        "events": ALWAYS,
        "data": folder / "data",
        **options,
    }
    return Config.model_validate(values)


def rows(config: Config, camera: str) -> list[dict[str, Any]]:
    with EventLog.open(config.data) as log:
        return [row for row in log.rows() if row["camera"] == camera]


def open_ids(pipeline: Pipeline, camera: str) -> set[str]:
    return {event.id for event in pipeline.processor.view(camera).open_events}


def test_cameras_are_added_and_removed_during_a_run(tmp_path: Path) -> None:
    recording = {"enabled": True, "width": 160}  # so that a busy machine encodes it in time
    config = settings(tmp_path, "hall", recording=recording)
    with Pipeline(config) as pipeline:
        wait_for(lambda: open_ids(pipeline, "hall"))
        previous = pipeline.cameras
        both = settings(tmp_path, "hall", "door", recording=recording)
        assert reconfigure(pipeline, both).applied == ("cameras.door added",)
        assert set(previous) == {"hall"}  # callers may still iterate over it
        wait_for(lambda: open_ids(pipeline, "door"))
        before = threading.active_count()

        (open_event,) = pipeline.processor.view("hall").open_events[:1]
        removed = pipeline.cameras["hall"]
        only = both.model_copy(update={"cameras": {"door": both.cameras["door"]}})
        assert reconfigure(pipeline, only).applied == ("cameras.hall removed",)
        assert pipeline.processor.views("hall") == {}
        wait_for(lambda: not open_ids(pipeline, "hall"))
        wait_for(lambda: pipeline.metrics.totals("hall").get("clips", 0) >= 1)
        wait_for(lambda: threading.active_count() < before)  # its threads have ended
        assert all(stream.ring is None for stream in removed.streams)
        seen = pipeline.metrics.totals("door")["windows"]
        wait_for(lambda: pipeline.metrics.totals("door")["windows"] > seen + 2)
        assert pipeline.config == only
        assert pipeline.failure == ""
    (closed,) = [row for row in rows(config, "hall") if row["id"] == open_event.id]
    assert closed["closed_by"] == "stop"
    assert (config.data / "clips" / closed["clip"]).is_file()
    assert rows(config, "door")
    assert not pipeline.metrics.total("late_results")


def test_changed_camera_is_restarted_under_its_name(tmp_path: Path) -> None:
    config = settings(tmp_path, "door")
    with Pipeline(config) as pipeline:
        wait_for(lambda: open_ids(pipeline, "door"))
        previous = pipeline.cameras["door"]
        zones = {"left": {"points": [[0, 0], [0.5, 1]]}}
        changed = settings(tmp_path, cameras={"door": {"source": "demo:9", "zones": zones}})
        assert reconfigure(pipeline, changed).applied == ("cameras.door changed",)
        wait_for(lambda: open_ids(pipeline, "door/left"))
        assert pipeline.cameras["door"] is not previous
        assert set(pipeline.processor.views("door")) == {"left"}
        assert not open_ids(pipeline, "door")
    assert {row["closed_by"] for row in rows(config, "door")} == {"stop"}
    assert rows(config, "door/left")


def test_thresholds_change_while_an_event_is_open(tmp_path: Path) -> None:
    config = settings(tmp_path, "door")
    with Pipeline(config) as pipeline:
        wait_for(lambda: open_ids(pipeline, "door"))
        (before, *_) = pipeline.processor.view("door").open_events
        longer = settings(tmp_path, "door", events={**ALWAYS, "merge_gap": 3})
        assert reconfigure(pipeline, longer).applied == ("events.merge_gap",)
        seen = pipeline.metrics.total("windows")
        wait_for(lambda: pipeline.metrics.total("windows") > seen + 2)
        assert before.id in open_ids(pipeline, "door")
        ignoring = settings(tmp_path, "door", events={**ALWAYS, "exclude": [before.label]})
        reconfigure(pipeline, ignoring)
        wait_for(lambda: before.id not in open_ids(pipeline, "door"))
        wait_for(lambda: pipeline.sinks.in_database)
        closed = {row["id"]: row for row in rows(config, "door")}[before.id]
        assert closed["closed_by"] == "stop"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"events": {"exclude": ["juggle"]}}, "events: model motion has no label 'juggle'"),
        (
            {"cameras": {"door": {"source": "demo:1"}, "gate": {"source": "ftp://host/x"}}},
            "cameras.gate: source ftp://host/x: ftp:// is not known",
        ),
    ],
)
def test_invalid_change_is_rejected_as_a_whole(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    config = settings(tmp_path, "door")
    with Pipeline(config) as pipeline:
        wait_for(lambda: pipeline.spec is not None)
        cameras = pipeline.cameras
        with pytest.raises(ConfigError, match=f"{reason}.*; nothing was changed"):
            reconfigure(pipeline, settings(tmp_path, "door", **{"window": {"stride": 1}, **change}))
        assert pipeline.config is config
        assert pipeline.cameras is cameras
        wait_for(lambda: open_ids(pipeline, "door"))
        assert pipeline.failure == ""
    with pytest.raises(ConfigError, match="shutting down; configuration not changed"):
        reconfigure(pipeline, settings(tmp_path, "gate"))


def test_camera_can_be_added_before_the_model_is_loaded(tmp_path: Path) -> None:
    with Pipeline(settings(tmp_path, "hall")) as pipeline:
        changes = reconfigure(pipeline, settings(tmp_path, "hall", "door"))
        assert pipeline.spec is None  # a worker needs seconds to load its model
        assert changes.applied == ("cameras.door added",)
        wait_for(lambda: open_ids(pipeline, "hall") and open_ids(pipeline, "door"))


def test_run_is_over_when_only_finished_videos_are_left(
    tmp_path: Path, write_video: Callable[..., Path]
) -> None:
    video = str(write_video([np.zeros((48, 64, 3), np.uint8)] * 10))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    ended = {"video": {"source": video}, "broken": {"source": str(broken)}}
    cameras = {**ended, "live": {"source": "demo:7"}}
    config = settings(tmp_path, cameras=cameras)
    with Pipeline(config) as pipeline:
        wait_for(lambda: pipeline.camera_manager.finished == set(ended))
        assert not pipeline.over.is_set()
        reconfigure(pipeline, settings(tmp_path, cameras=ended))
        assert pipeline.over.wait(60)
    assert "broken.mp4: not a video" in pipeline.failure
    assert any("broken.mp4: not a video" in one.text for one in pipeline.recent_logs.entries)


def test_two_browser_sessions_get_their_own_labels_and_are_not_logged(tmp_path: Path) -> None:
    config = settings(tmp_path, "door", dashboard={"try_it": {"max_sessions": 2}})
    still = np.zeros((240, 320, 3), np.uint8)
    scene = Scene(7, width=320, height=240)
    first = scene.ground_truth(10.0)[0]
    with Pipeline(config) as pipeline:
        wait_for(lambda: pipeline.spec is not None)
        with pipeline.sessions.open() as resting, pipeline.sessions.open() as moving:
            labels: dict[str, set[str]] = {resting.name: set(), moving.name: set()}
            time_s = 0.0

            def put_frames() -> bool:
                nonlocal time_s
                time_s += 0.04
                resting.put(still, time_s)
                # The same part of a video in a loop, so its clock jumps back.
                start_s = max(0.0, first.start_s - 1)
                position_s = start_s + time_s % (first.end_s + 1 - start_s)
                moving.put(scene.render(position_s), position_s)
                for session in (resting, moving):
                    if prediction := session.view().prediction:
                        labels[session.name].add(prediction.top(1)[0][0])
                return "still" in labels[resting.name] and first.label in labels[moving.name]

            wait_for(put_frames)
            assert first.label not in labels[resting.name]
        wait_for(lambda: open_ids(pipeline, "door"))
        sessions = pipeline.metrics.totals("browser_session")
    assert sessions["windows"] >= 2
    with EventLog.open(config.data) as log:
        assert {row["camera"] for row in log.rows()} == {"door"}
    assert [path.name for path in (config.data / "scores").iterdir()] == ["door"]
