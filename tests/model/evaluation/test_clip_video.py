"""Clips as MP4 in memory: timestamps, sizes, colors and browser compatibility."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from model.evaluation.clip_video import encode


def decode(video: bytes) -> list[tuple[float, np.ndarray]]:
    """All frames, RGB, with their times."""
    with av.open(io.BytesIO(video)) as container:
        return [
            (frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)
        ]


def plain(*colors: tuple[int, int, int], height: int = 64, width: int = 64) -> np.ndarray:
    """One frame of each color."""
    frames = np.empty((len(colors), height, width, 3), np.uint8)
    frames[:] = np.array(colors, np.uint8)[:, None, None]
    return frames


COLORS = [(255, 255, 255), (0, 0, 0), (220, 30, 30), (30, 200, 40), (20, 40, 220)]


def test_each_frame_has_its_time_and_color() -> None:
    frames = decode(encode(plain(*COLORS), fps=3.75))
    assert [time_s for time_s, _ in frames] == pytest.approx([n / 3.75 for n in range(5)])
    for (_, frame), color in zip(frames, COLORS, strict=True):
        assert frame[128, 128] == pytest.approx(np.array(color), abs=6)


def test_video_is_browser_compatible() -> None:
    video = encode(plain(*COLORS), fps=10)
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.duration is not None
        assert stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(0.5)
    assert video.index(b"moov") < video.index(b"mdat")


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (64, 64, (256, 256)),
        (240, 320, (240, 320)),
        (239, 400, (478, 800)),
        (81, 101, (242, 302)),  # 243 x 303 without the last row and column
        (2, 2, (240, 240)),
        (10, 1000, (10, 1000)),  # upscaled it would be wider than a screen
        (301, 245, (300, 244)),
    ],
)
def test_small_frames_are_upscaled_and_sides_are_even(
    height: int, width: int, size: tuple[int, int]
) -> None:
    [(_, frame)] = decode(encode(plain((200, 100, 50), height=height, width=width), fps=1))
    assert frame.shape == (*size, 3)


def test_upscaled_pixels_have_sharp_edges() -> None:
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    frames[0, 2, 3] = 255
    [(_, frame)] = decode(encode(frames, fps=1))
    assert frame[60:90, 90:120].min() > 220
    assert frame[60:90, 124:150].max() < 40
    assert frame[94:120, 90:120].max() < 40


def test_encoding_is_deterministic() -> None:
    assert encode(plain(*COLORS), fps=8) == encode(plain(*COLORS), fps=8)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((4, 1, 64, 3), np.uint8),
        np.zeros((4, 64, 64), np.uint8),
        np.zeros((4, 3, 64, 64), np.uint8),
        np.zeros((4, 64, 64, 3), np.float32),
    ],
)
def test_invalid_frames_are_rejected(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"clip frames must be uint8 \(T, H, W, 3\)"):
        encode(frames, fps=8)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_invalid_fps_is_rejected(fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be above 0"):
        encode(plain((0, 0, 0)), fps=fps)
