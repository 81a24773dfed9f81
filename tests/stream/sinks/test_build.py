"""What becomes of a whole run's events: a real worker, real clips, a real receiver of alerts."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from stream.config.config import Config
from stream.pipeline import Pipeline
from stream.sinks.event_log.event_log import EventLog
from stream.synthetic import Scene
from stream.workers.transport import TransportError
from tests import burnt_clock
from tests.waiting import wait_for

FPS = 25


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """The first eight seconds of a scene, with the time burnt in."""
    scene = Scene(7, width=320, height=240)
    file = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (320, 240))
    for number in range(8 * FPS):
        picture = scene.picture(number / FPS)
        band = burnt_clock.draw(number / FPS)
        picture[210:] = band[210:]
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return file


def settings(folder: Path, film: Path, **more: object) -> Config:
    return Config.model_validate(
        {"cameras": {"hall": {"source": str(film)}}, "data": folder / "data", **more}
    )


def watched(config: Config) -> list[dict[str, Any]]:
    with Pipeline(config) as pipeline:
        assert pipeline.over.wait(60)
    assert pipeline.failure == ""
    with EventLog.open(config.data) as log:
        return list(log.rows())


def clocks(file: Path) -> list[float]:
    """The burnt-in times of a clip's pictures."""
    with av.open(str(file)) as container:
        return [
            burnt_clock.read(frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
        ]


def test_each_event_has_a_clip_that_begins_before_it_and_a_snapshot_of_its_peak(
    tmp_path: Path, film: Path
) -> None:
    recording = {"enabled": True, "pre_roll": "1s", "post_roll": "0.5s"}
    config = settings(tmp_path, film, recording=recording)
    rows = watched(config)
    assert rows
    for row in rows:
        assert row["clip_note"] == ""
        shown = clocks(config.data / "clips" / row["clip"])
        assert shown[0] == pytest.approx(max(0.0, row["start_s"] - 1), abs=1 / FPS)
        assert row["clip_start_s"] == pytest.approx(shown[0], abs=0.002)
        last_s = min(row["end_s"] + 0.5, 8 - 1 / FPS)
        assert shown[-1] == pytest.approx(last_s, abs=1.5 / FPS)
        assert np.allclose(np.diff(shown), 1 / FPS, atol=0.002)  # at the source's rate
        snapshot = cv2.imread(str(config.data / "snapshots" / row["snapshot"]))
        assert burnt_clock.read(snapshot) == pytest.approx(row["peak_s"], abs=1 / FPS)
    assert {file.name for file in (config.data / "clips").iterdir()} == {r["clip"] for r in rows}


def test_with_a_full_disk_events_are_logged_all_the_same(tmp_path: Path, film: Path) -> None:
    config = settings(
        tmp_path, film, recording={"enabled": True}, retention={"keep_free": "1000000TB"}
    )
    rows = watched(config)
    assert rows
    assert {row["clip"] for row in rows} == {""}
    assert {row["clip_note"] for row in rows} == {"no clip: disk nearly full"}
    assert not list((config.data / "scores").rglob("*.scores"))


def test_what_nobody_wants_is_not_kept(tmp_path: Path, film: Path) -> None:
    config = settings(tmp_path, film, retention={"scores": "0s"})
    rows = watched(config)
    assert {row["clip"] for row in rows} == {""}
    assert {row["clip_note"] for row in rows} == {""}
    assert not (config.data / "scores").exists()
    assert not (config.data / "clips").exists()


def test_an_address_that_is_taken_ends_the_run_before_it_begins(tmp_path: Path, film: Path) -> None:
    first = settings(tmp_path / "one", film, publish=f"ipc://{tmp_path / 'published'}/x")
    with pytest.raises(TransportError, match="publish: "), Pipeline(first):
        pass


def test_a_clip_that_was_being_written_at_a_crash_is_gone_after_the_next_start(
    tmp_path: Path, film: Path
) -> None:
    config = settings(tmp_path, film, recording={"enabled": True})
    watched(config)
    orphan, torn = (config.data / "clips" / name for name in (f"{'e' * 32}.mp4", "x.mp4.part"))
    for file in (orphan, torn):
        file.write_bytes(b"left over")
    watched(config)
    assert not orphan.exists()
    assert not torn.exists()


def test_a_camera_that_hangs_costs_no_clip_at_the_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        port = silent.getsockname()[1]
        config = Config.model_validate(
            {
                "cameras": {
                    "hall": {"source": "demo:7"},
                    "dead": {"source": f"rtsp://127.0.0.1:{port}/live"},
                },
                "events": {"enter": 0.3, "leave": 0.0, "minimum": 0},
                # Little to encode, so that a busy machine keeps up.
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
