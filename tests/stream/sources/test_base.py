from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.capture.camera import Camera
from stream.config.config import CameraConfig
from stream.messages import FrameTime
from stream.runtime.metrics import Metrics
from stream.sources.base import (
    SOURCE_TYPES,
    OpenOptions,
    SourceError,
    check_source,
    open_source,
    source_type,
)
from stream.synthetic.scene import Scene

WriteVideo = Callable[..., Path]


def gray(value: int) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (-1, "0 or more"),
        (10**14, "below 1000"),
        ("demo:\u00b2", "whole number"),
        ("ftp://host/file", "ftp:// is not known"),
        ("nothing.mp4", "nothing.mp4: no such file"),
        ("0", "without quotes"),
        ("demo:now", "whole number"),
        ("rtsp://viewer:secret:192.0.2.1/live", "source rtsp://: its address is malformed"),
        ("rtsp://viewer:p@ss/w@192.0.2.1/live", "percent-encoded, or to come from"),
    ],
)
def test_invalid_source_is_rejected(source: int | str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        check_source(source)


def test_file_without_video_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "notes.mp4"
    file.write_bytes(b"no video at all")
    with pytest.raises(SourceError, match=r"notes\.mp4: not a video"):
        open_source(str(file))


def test_unreachable_address_is_reported_without_its_password() -> None:
    with pytest.raises(SourceError) as caught:
        open_source("rtsp://user:secret@127.0.0.1:9/stream")
    assert "rtsp://127.0.0.1:9/stream can't be reached" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_secret_file_without_an_address_is_reported_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("just-a-password")
    with pytest.raises(SourceError, match="secret must hold an address") as caught:
        check_source(f"file:{tmp_path / 'secret'}")
    assert "just-a-password" not in str(caught.value)


def test_file_is_read_at_its_own_pace(
    write_video: WriteVideo, clock, clock_stop: threading.Event
) -> None:
    file = write_video([gray(40 * number) for number in range(6)], fps=10)
    source = open_source(str(file), OpenOptions(now=clock))
    moments, frames = [], []
    while (moment := source.grab(clock_stop)) is not None:
        # It is delivered when it is due, not before.
        assert clock() == pytest.approx(moment.seen_at)
        moments.append(moment)
        frames.append(source.retrieve())
    source.close()
    assert [moment.time_s for moment in moments] == pytest.approx(np.arange(6) / 10)
    assert [moment.seen_at - 100 for moment in moments] == pytest.approx(np.arange(6) / 10)
    brightness = [float(frame.mean()) for frame in frames]
    assert brightness == pytest.approx(40 * np.arange(6), abs=6)


def test_frames_are_rgb(write_video: WriteVideo, clock, clock_stop: threading.Event) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 230
    source = open_source(str(write_video([red, red])), OpenOptions(now=clock))
    assert source.grab(clock_stop) is not None
    frame = source.retrieve()
    source.close()
    assert frame is not None
    assert frame[24, 32, 0] > 180
    assert frame[24, 32, 2] < 60


def test_grab_returns_none_after_stop(write_video: WriteVideo, clock) -> None:
    stop = threading.Event()
    stop.set()
    for name in (str(write_video([gray(0)] * 3)), "demo:1"):
        source = open_source(name, OpenOptions(now=clock))
        assert source.grab(stop) is None
        source.close()


def test_demo_runs_in_real_time_and_skips_late_frames(clock, clock_stop: threading.Event) -> None:
    source = open_source("demo:5", OpenOptions(now=clock))
    first = source.grab(clock_stop)
    clock.seconds += 3.0  # no frame was grabbed for 3 s: they are skipped, as with a camera
    later = source.grab(clock_stop)
    frame = source.retrieve()
    source.close()
    assert first is not None
    assert later is not None
    assert first.time_s == 0.0
    assert later.time_s == pytest.approx(3.0, abs=0.05)
    assert frame is not None
    assert np.array_equal(frame, Scene(5).render(later.time_s))


class CountdownSource:
    """A toy: frames of one brightness, from N down to 1."""

    finite = True

    def __init__(self, count: int) -> None:
        self._left = count + 1

    def grab(self, stop: threading.Event) -> FrameTime | None:
        self._left -= 1
        return FrameTime(float(-self._left), 0.0) if self._left and not stop.is_set() else None

    def retrieve(self) -> np.ndarray:
        return gray(self._left)

    def close(self) -> None:
        pass


class CountdownType:
    """A source type from outside: `countdown:N`."""

    def matches(self, spec: int | str) -> bool:
        return str(spec).startswith("countdown:")

    def validate(self, spec: int | str) -> None:
        if not str(spec).removeprefix("countdown:").isdigit():
            raise SourceError(f"source {spec}: write countdown:N with a whole number")

    def open(self, spec: int | str, options: OpenOptions) -> CountdownSource:
        return CountdownSource(int(str(spec).removeprefix("countdown:")))


@pytest.fixture
def countdown() -> Iterator[None]:
    SOURCE_TYPES.add("countdown", CountdownType())
    yield
    SOURCE_TYPES.remove("countdown")


@pytest.mark.usefixtures("countdown")
def test_source_type_is_added_by_registration_alone(clock_stop: threading.Event) -> None:
    with pytest.raises(SourceError, match="write countdown:N"):
        check_source("countdown:soon")
    camera = Camera("toy", CameraConfig(source="countdown:3"), Metrics())
    brightness = []
    with contextlib.closing(open_source("countdown:3")) as source:
        while source.grab(clock_stop) is not None:
            frame = source.retrieve()
            assert frame is not None
            brightness.append(int(frame[0, 0, 0]))
    assert brightness == [3, 2, 1]
    assert camera.source == "countdown:3"
    assert source_type("countdown.mp4") == "video_file"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (0, "webcam"),
        ("demo:3", "demo"),
        ("rtsp://192.0.2.1/live", "network"),
        ("file:/run/secrets/camera", "network"),
        ("0", "video_file"),
        ("08:00:00.mp4", "video_file"),
    ],
)
def test_spec_means_one_type(spec: int | str, name: str) -> None:
    assert source_type(spec) == name
