"""The same scene at different frame rates gives the same events at the same times."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from model.predictor import Predictor
from model.trained_model import load
from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.messages import Event, FrameTime, Prediction
from stream.regions.clip_source import RegionClipSource
from stream.scheduling.window_grid import WindowGrid
from stream.sources.video_file import open_video
from stream.synthetic.scene import Scene

_SECONDS, _STRIDE_S = 30.0, 0.25


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(load("motion"))


def variable() -> np.ndarray:
    """Frame times of a camera whose rate depends on the light: 40 to 120 ms apart."""
    gaps = 0.08 + 0.04 * np.sin(np.arange(1000) / 7)
    times = np.cumsum(gaps)
    return times[times < _SECONDS]


def rendered(times: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    scene = Scene(4, width=160, height=120)
    for time_s in times:
        yield float(time_s), scene.render(float(time_s))


def decoded(write_video: Callable[..., Path], fps: int) -> Iterator[tuple[float, np.ndarray]]:
    """The rendered frames, encoded and decoded."""
    frames = [frame for _, frame in rendered(np.arange(0, _SECONDS, 1 / fps))]
    with contextlib.closing(open_video(str(write_video(frames, fps=fps)))) as video:
        while (time_s := video.advance()) is not None:
            frame = video.retrieve()
            assert frame is not None
            yield time_s, frame


def events_of(frames: Iterable[tuple[float, np.ndarray]], predictor: Predictor) -> list[Event]:
    model = load("motion")
    stream, grid = RegionClipSource("door"), WindowGrid(_STRIDE_S)
    stream.start_buffering(model.spec)
    detector = Detector("door", EventsConfig(), model.spec.background, gap_s=5.0)
    found: list[Event] = []
    for time_s, frame in frames:
        if not stream.accepts(time_s):
            continue
        stream.add_frame(frame, FrameTime(time_s, 0.0))
        end_s = grid.due(time_s)
        if end_s is None or stream.ring is None or not stream.ring.covers(model.spec.times(end_s)):
            continue
        grid.advance_to(end_s)
        clip, seen, _ = stream.ring.window(model.spec.times(end_s))
        probabilities = predictor.predict(clip[None])[0]
        window = Prediction(
            "door", model.spec.labels, probabilities, float(seen[0]), float(seen[-1]), 0.0, 0.0
        )
        found += detector.update(window)
    found += detector.flush("stop")
    return [event for event in found if event.end_s is not None]


def test_events_do_not_depend_on_the_frame_rate(
    predictor: Predictor, write_video: Callable[..., Path]
) -> None:
    reference = events_of(decoded(write_video, 30), predictor)
    assert len(reference) >= 4
    for frames in (decoded(write_video, 10), decoded(write_video, 15), rendered(variable())):
        found = events_of(frames, predictor)
        assert [event.label for event in found] == [event.label for event in reference]
        for one, other in zip(found, reference, strict=True):
            assert one.start_s == pytest.approx(other.start_s, abs=0.3)
            assert (one.end_s or 0.0) == pytest.approx(other.end_s or 0.0, abs=0.3)
