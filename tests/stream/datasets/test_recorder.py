from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event as StopEvent

import numpy as np
import pytest

from stream.datasets.recorder import (
    RecordingListener,
    SampleError,
    add_videos,
    count_samples,
    record_samples,
)
from stream.messages import FrameTime
from stream.sources.base import OpenOptions, SourceError, open_source
from stream.sources.uniform_clips import frame_timestamps


class FakeCamera:
    """A camera that delivers the given frames, ten per second, and then fails."""

    finite = False

    def __init__(self, frames: list[np.ndarray | None]) -> None:
        self._frames = frames
        self._number = -1

    def grab(self, stop: StopEvent) -> FrameTime | None:
        if stop.is_set():
            return None
        self._number += 1
        if self._number == len(self._frames):
            raise SourceError("source 0 delivers no more frames")
        return FrameTime(self._number / 10, self._number / 10)

    def retrieve(self) -> np.ndarray | None:
        return self._frames[self._number]

    def close(self) -> None:
        pass


def noise(count: int) -> list[np.ndarray | None]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(count)]


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_samples_and_countdowns_use_the_camera_clock(tmp_path: Path, clock, clock_stop) -> None:
    calls: list[str] = []

    class Record(RecordingListener):
        def on_recording(self, sample: int) -> None:
            calls.append(f"{clock() - 100:.1f} s: {sample}")

        def on_saved(self, sample: int) -> None:
            calls.append(f"{clock() - 100:.1f} s: saved {sample}")

    camera = open_source("demo:3", OpenOptions(now=clock))
    saved = record_samples(
        camera,
        tmp_path,
        "move",
        2,
        duration_s=1.0,
        countdown_s=2.0,
        stop=clock_stop,
        listener=Record(),
    )
    assert saved == count_samples(tmp_path, "move") == 2
    assert files(tmp_path) == ["move/sample-001.mp4", "move/sample-002.mp4"]
    assert frame_timestamps(tmp_path / "move" / "sample-001.mp4")[-1] == pytest.approx(
        1.0, abs=0.05
    )
    assert calls == ["2.0 s: 1", "3.0 s: saved 1", "5.1 s: 2", "6.1 s: saved 2"]
    record_samples(camera, tmp_path, "move", 1, duration_s=0.2, countdown_s=0.0, stop=clock_stop)
    assert "move/sample-003.mp4" in files(tmp_path)


def test_finished_samples_stay_when_the_camera_fails(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="delivers no more frames"):
        record_samples(
            FakeCamera(noise(25)),
            tmp_path,
            "move",
            3,
            duration_s=1.0,
            countdown_s=0.1,
            stop=StopEvent(),
        )
    assert files(tmp_path) == ["move/sample-001.mp4"]


def test_finished_samples_stay_after_a_stop(tmp_path: Path) -> None:
    stop = StopEvent()

    class StopInTheSecond(RecordingListener):
        def on_recording(self, sample: int) -> None:
            if sample == 2:
                stop.set()

    saved = record_samples(
        FakeCamera(noise(99)),
        tmp_path,
        "a/b",
        3,
        duration_s=1.0,
        countdown_s=0.1,
        stop=stop,
        listener=StopInTheSecond(),
    )
    assert saved == 1
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert files(folder) == ["sample-001.mp4"]
    # The label is no valid folder name: the list has it.
    assert (tmp_path / "clips.csv").read_text() == f"path,label\n{folder.name}/sample-001.mp4,a/b\n"


def test_static_or_black_sample_is_retried_a_few_times(tmp_path: Path) -> None:
    rejected: list[str] = []

    class Record(RecordingListener):
        def on_rejected(self, sample: int, reason: str) -> None:
            rejected.append(f"{sample}: {reason}")

    gray: list[np.ndarray | None] = [np.full((48, 64, 3), 90, np.uint8)] * 6
    dark: list[np.ndarray | None] = [np.zeros((48, 64, 3), np.uint8)] * 6
    camera = FakeCamera([*gray, None, *dark, *noise(20)])
    assert (
        record_samples(
            camera,
            tmp_path,
            "move",
            1,
            duration_s=0.4,
            countdown_s=0.0,
            stop=StopEvent(),
            listener=Record(),
        )
        == 1
    )
    assert rejected == ["1: the image does not change", "1: black frame"]
    with pytest.raises(SampleError, match=r"rejected 4 times .the image does not"):
        record_samples(
            FakeCamera(gray * 9),
            tmp_path,
            "move",
            1,
            duration_s=0.4,
            countdown_s=0.0,
            stop=StopEvent(),
        )
    assert files(tmp_path) == ["move/sample-001.mp4"]


def test_videos_are_copied_once(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    samples = tmp_path / "samples"
    (samples / "run").mkdir(parents=True)
    (samples / "run" / "a.mp4.part").write_bytes(b"unfinished")
    first = write_video(noise(5), name="a.mp4")
    (tmp_path / "none.mp4").write_bytes(b"no video")
    new, problems = add_videos(samples, "run", [first, tmp_path / "none.mp4"])
    assert new == 1
    assert len(problems) == 1
    assert "none.mp4: not a video" in problems[0]
    assert add_videos(samples, "run", [first, samples / "run" / "a.mp4"]) == (0, [])
    second = write_video(noise(7), name="a.mp4")
    assert add_videos(samples, "run", [second]) == (1, [])
    assert files(samples) == ["run/a-2.mp4", "run/a.mp4"]


def test_existing_list_stays_and_keeps_its_columns(
    tmp_path: Path, write_video: Callable[..., Path]
) -> None:
    video = write_video(noise(5))
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "clips.csv").write_text("label,path,source\nrun,run/x.mp4,hall")
    add_videos(samples, "a/b", [video])
    first, second, third = (samples / "clips.csv").read_text().splitlines()
    assert (first, second) == ("label,path,source", "run,run/x.mp4,hall")
    assert third.startswith("a/b,a_b-")
    (samples / "clips.csv").write_text("holidays")
    with pytest.raises(SampleError, match=r"clips\.csv must have the columns path,label; fix it"):
        add_videos(samples, "c/d", [video])


def test_unwritable_folder_is_named_in_the_error(
    tmp_path: Path, write_video: Callable[..., Path]
) -> None:
    (tmp_path / "samples").write_text("a file")
    with pytest.raises(SampleError, match=r"samples.* can't be written"):
        add_videos(tmp_path / "samples", "run", [write_video(noise(5))])
