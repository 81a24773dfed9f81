from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from stream.sinks.clips.mp4 import ClipFile
from tests import burnt_clock

FULL = Path("/dev/full")


def jpeg(pixels: np.ndarray) -> bytes:
    """Encode an RGB image as JPEG."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def write_clip(file: Path, times: Iterable[float], *, width: int = 320, height: int = 240) -> Path:
    clip = ClipFile(file, 960)
    for time_s in times:
        clip.add(jpeg(burnt_clock.draw(time_s, width=width, height=height)), time_s)
    clip.finish()
    return file


def frames_of(file: Path) -> list[tuple[float, np.ndarray]]:
    """All frames of a clip, RGB, with their times."""
    with av.open(str(file)) as container:
        return [
            (float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
            if frame.pts is not None and frame.time_base is not None
        ]


def test_each_frame_has_its_own_time(tmp_path: Path) -> None:
    times = [1000.0, 1000.04, 1000.1, 1000.4, 1000.433, 1002.9, 1003.0]
    shown = frames_of(write_clip(tmp_path / "clip.mp4", times))
    assert [time_s for time_s, _ in shown] == pytest.approx(
        [time_s - times[0] for time_s in times], abs=1e-4
    )
    assert [burnt_clock.read(pixels) for _, pixels in shown] == times


def test_clip_has_a_format_that_browsers_play(tmp_path: Path) -> None:
    file = write_clip(tmp_path / "clip.mp4", [number / 15 for number in range(90)])
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        assert stream.duration is not None
        assert stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(6.0, abs=1e-3)
    assert all(packet.pts == packet.dts for packet in packets)
    assert packets[0].pts == 0
    keys = [packet.pts / 90_000 for packet in packets if packet.is_keyframe and packet.pts]
    assert keys
    assert max(np.diff([0.0, *keys, 6.0])) <= 2.0
    data = file.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    clip = ClipFile(tmp_path / "clip.mp4", 960)
    for number in range(100):  # the encoder buffers some frames
        clip.add(jpeg(burnt_clock.draw(number / 10)), number / 10)
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4.part"]
    clip.finish()
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_colors_are_preserved(tmp_path: Path) -> None:
    colors = [(255, 255, 255), (0, 0, 0), (220, 30, 30), (30, 200, 40), (20, 40, 220)]
    pixels = np.zeros((96, 160, 3), np.uint8)
    for index, color in enumerate(colors):
        pixels[:, 32 * index : 32 * (index + 1)] = color
    clip = ClipFile(tmp_path / "clip.mp4", 960)
    for number in range(5):
        clip.add(jpeg(pixels), number / 10)
    clip.finish()
    _, shown = frames_of(tmp_path / "clip.mp4")[-1]
    for index, color in enumerate(colors):
        assert shown[48, 32 * index + 16] == pytest.approx(np.array(color), abs=6)


@pytest.mark.parametrize(
    ("camera", "clip"), [((1280, 720), (960, 540)), ((333, 251), (332, 250)), ((64, 48), (64, 48))]
)
def test_size_is_even_and_within_the_maximum_width(
    tmp_path: Path, camera: tuple[int, int], clip: tuple[int, int]
) -> None:
    file = write_clip(tmp_path / "clip.mp4", [0.0, 0.1], width=camera[0], height=camera[1])
    assert frames_of(file)[0][1].shape == (clip[1], clip[0], 3)


def test_frames_of_another_size_are_resized_to_the_first(tmp_path: Path) -> None:
    clip = ClipFile(tmp_path / "clip.mp4", 960)
    for number, (width, height) in enumerate([(320, 240), (640, 480), (160, 120), (320, 180)]):
        time_s = number / 10
        clip.add(jpeg(burnt_clock.draw(time_s, width=width, height=height)), time_s)
    clip.finish()
    shown = frames_of(tmp_path / "clip.mp4")
    assert {pixels.shape for _, pixels in shown} == {(240, 320, 3)}
    assert [burnt_clock.read(pixels) for _, pixels in shown] == [0.0, 0.1, 0.2, 0.3]


def test_clip_of_one_frame(tmp_path: Path) -> None:
    assert len(frames_of(write_clip(tmp_path / "clip.mp4", [7.0]))) == 1


def test_discarded_clip_leaves_no_file(tmp_path: Path) -> None:
    clip = ClipFile(tmp_path / "clip.mp4", 960)
    with pytest.raises(ValueError, match=r"clip\.mp4 has no frames"):
        clip.finish()
    clip.discard()
    started = ClipFile(tmp_path / "started.mp4", 960)
    started.add(jpeg(burnt_clock.draw(0.0)), 0.0)
    started.discard()
    broken = ClipFile(tmp_path / "broken.mp4", 960)
    with pytest.raises(ValueError, match="Invalid data"):
        broken.add(b"not a JPEG", 0.0)
    broken.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, an always full disk")
def test_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4.part").symlink_to(FULL)
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    clip = ClipFile(tmp_path / "clip.mp4", 960)

    def add_many() -> None:
        for number in range(200):
            clip.add(jpeg(noise), number / 10)

    with pytest.raises(OSError, match="No space left"):
        add_many()
    clip.discard()
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
