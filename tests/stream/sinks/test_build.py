"""A whole run with real sinks: a real worker, event log and clips."""

from __future__ import annotations

import shutil
import socket
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from stream.capture.camera import Camera
from stream.config.config import Config
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.pipeline import Pipeline
from stream.sinks.base import SINKS, EventSink, SinkContext
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.publisher import PublishError
from stream.synthetic.scene import Scene
from tests import burnt_clock
from tests.waiting import wait_for

FPS = 25


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of a scene with burnt-in time."""
    scene = Scene(7, width=320, height=240)
    file = tmp_path_factory.mktemp("video") / "video.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (320, 240))
    for number in range(8 * FPS):
        image = scene.render(number / FPS)
        band = burnt_clock.draw(number / FPS)
        image[210:] = band[210:]
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return file


def make_config(folder: Path, video: Path, **sections: object) -> Config:
    return Config.model_validate(
        {"cameras": {"hall": {"source": str(video)}}, "data": folder / "data", **sections}
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, video: Path) -> Config:
    """A finished run with clips; tests only read its folder."""
    recording = {"enabled": True, "pre_roll": "1s", "post_roll": "0.5s"}
    config = make_config(tmp_path_factory.mktemp("recorded"), video, recording=recording)
    assert run(config)
    return config


def run(config: Config) -> list[dict[str, Any]]:
    with Pipeline(config, stop_timeout_s=60) as pipeline:  # for the clips, on a busy machine
        assert pipeline.over.wait(60)
    assert pipeline.failure == ""
    with EventLog.open(config.data) as log:
        return list(log.rows())


class ToySink(EventSink):
    """A sink as a plugin would add it: it counts what it receives."""

    name = "toy"

    def __init__(self, context: SinkContext) -> None:
        self.received: Counter[str] = Counter()
        self.folder = context.folder

    def start(self) -> None:
        self.received["start"] += 1

    def join(self, timeout_s: float) -> bool:
        self.received["join"] += 1
        return True

    def on_model(self, spec: ClipSpec, streams: Sequence[str]) -> None:
        assert streams == ["hall"]
        self.received[spec.model] += 1

    def on_prediction(self, prediction: Prediction, end_utc: datetime) -> None:
        assert abs((datetime.now(timezone.utc) - end_utc).total_seconds()) < 60
        self.received["predictions"] += 1

    def on_event(self, logged: LoggedEvent) -> None:
        self.received[f"{logged.change} detected"] += 1

    def on_written(self, logged: LoggedEvent) -> None:
        self.received[f"{logged.change} written"] += 1
        raise RuntimeError("of the toy")

    def on_cameras(self, removed: Sequence[Camera], added: Sequence[Camera]) -> None:
        self.received["cameras"] += len(added)

    def on_camera_finished(self, camera: Camera) -> None:
        self.received["finished"] += 1


def test_registered_sink_receives_the_run_and_its_errors_harm_nothing(
    tmp_path: Path, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[ToySink] = []

    def make(context: SinkContext) -> EventSink:
        made.append(ToySink(context))
        return made[-1]

    SINKS.add(ToySink.name, make)
    asked: list[SinkContext] = []
    SINKS.add("none", asked.append)  # None: the configuration does not want it
    try:
        config = make_config(tmp_path, video)
        rows = run(config)
    finally:
        SINKS.remove(ToySink.name)
        SINKS.remove("none")
    (toy,) = made
    assert len(asked) == 1
    count = len(rows)
    assert count
    assert toy.folder == config.data
    assert toy.received["predictions"] > 10
    expected = {
        **{"start": 1, "cameras": 1, "motion": 1, "finished": 1, "join": 1},
        **{"start detected": count, "end detected": count},
        **{"start written": count, "end written": count},
    }
    assert {name: toy.received[name] for name in expected} == expected
    assert caplog.text.count("sink toy failed") == 1


def test_sinks_that_were_started_are_stopped_if_a_later_one_fails(
    tmp_path: Path, video: Path
) -> None:
    stopped: list[str] = []

    class Failing(EventSink):
        name = "failing"
        feeds_log = True  # started after the others

        def start(self) -> None:
            raise RuntimeError("no start")

    class Started(EventSink):
        name = "started"

        def request_stop(self) -> None:
            stopped.append(self.name)

    config = make_config(tmp_path, video)
    for sink in (Failing(), Started()):
        SINKS.add(sink.name, lambda _, sink=sink: sink)  # type: ignore[misc]
    try:
        with pytest.raises(RuntimeError, match="no start"), Pipeline(config):
            pass
    finally:
        SINKS.remove("failing")
        SINKS.remove("started")
    assert stopped == ["started"]
    with EventLog.create(config.data):  # the folder is not locked any more
        pass


def burnt_times(file: Path) -> list[float]:
    """The burnt-in times of a clip's frames."""
    with av.open(str(file)) as container:
        return [
            burnt_clock.read(frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
        ]


def test_each_event_has_a_clip_with_pre_roll_and_a_snapshot_of_its_peak(
    recorded: Config,
) -> None:
    with EventLog.open(recorded.data) as log:
        rows = list(log.rows())
    for row in rows:
        assert row["clip_note"] == ""
        times_s = burnt_times(recorded.data / "clips" / row["clip"])
        assert times_s[0] == pytest.approx(max(0.0, row["start_s"] - 1), abs=1 / FPS)
        assert row["clip_start_s"] == pytest.approx(times_s[0], abs=0.002)
        last_s = min(row["end_s"] + 0.5, 8 - 1 / FPS)
        assert times_s[-1] == pytest.approx(last_s, abs=1.5 / FPS)
        assert np.allclose(np.diff(times_s), 1 / FPS, atol=0.002)  # at the source's rate
        snapshot = cv2.imread(str(recorded.data / "snapshots" / row["snapshot"]))
        assert burnt_clock.read(snapshot) == pytest.approx(row["peak_s"], abs=1 / FPS)
    assert {file.name for file in (recorded.data / "clips").iterdir()} == {r["clip"] for r in rows}


def test_events_are_logged_on_a_full_disk(tmp_path: Path, video: Path) -> None:
    config = make_config(
        tmp_path, video, recording={"enabled": True}, retention={"keep_free": "1000000TB"}
    )
    rows = run(config)
    assert rows
    assert {row["clip"] for row in rows} == {""}
    assert {row["clip_note"] for row in rows} == {"no clip: disk nearly full"}
    assert not list((config.data / "scores").rglob("*.scores"))


def test_disabled_outputs_are_not_written(tmp_path: Path, video: Path) -> None:
    config = make_config(tmp_path, video, retention={"scores": "0s"})
    rows = run(config)
    assert {row["clip"] for row in rows} == {""}
    assert {row["clip_note"] for row in rows} == {""}
    assert not (config.data / "scores").exists()
    assert not (config.data / "clips").exists()


def test_unusable_publish_address_fails_at_the_start(tmp_path: Path, video: Path) -> None:
    first = make_config(tmp_path / "one", video, publish=f"ipc://{tmp_path / 'published'}/x")
    with pytest.raises(PublishError, match="publish: "), Pipeline(first):
        pass


def test_unfinished_clips_of_a_crash_are_deleted_at_the_next_start(
    tmp_path: Path, recorded: Config
) -> None:
    config = recorded.model_copy(update={"data": tmp_path / "data"})
    shutil.copytree(recorded.data, config.data)
    orphan, unfinished = (
        config.data / "clips" / name for name in (f"{'e' * 32}.mp4", "x.mp4.part")
    )
    for file in (orphan, unfinished):
        file.write_bytes(b"left over")
    run(config)
    assert not orphan.exists()
    assert not unfinished.exists()


def test_clips_are_finished_although_a_camera_hangs_at_the_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # never answers
        port = silent.getsockname()[1]
        config = Config.model_validate(
            {
                "cameras": {
                    "hall": {"source": "demo:7"},
                    "dead": {"source": f"rtsp://127.0.0.1:{port}/live"},
                },
                "events": {"threshold": 0.3, "release_threshold": 0.0, "min_duration": 0},
                # Small frames, so that a busy machine keeps up.
                "recording": {"enabled": True, "pre_roll": "0s", "post_roll": "10s", "width": 160},
                "data": tmp_path / "data",
            }
        )
        with Pipeline(config) as pipeline:
            wait_for(lambda: pipeline.metrics.total("events") >= 1)
    with EventLog.open(config.data) as log:
        rows = list(log.rows())
    assert rows
    for row in rows:
        assert (config.data / "clips" / row["clip"]).is_file()
    assert not list((config.data / "clips").glob("*.part"))
