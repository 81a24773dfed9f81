"""Clips as MP4 in memory: times, sizes and colours, and that it is what browsers play."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from model.evaluation.clip_video import encode


def shown(video: bytes) -> list[tuple[float, np.ndarray]]:
    """All pictures, RGB, with their times."""
    with av.open(io.BytesIO(video)) as container:
        return [
            (frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)
        ]


def plain(*colours: tuple[int, int, int], height: int = 64, width: int = 64) -> np.ndarray:
    """A picture of each colour."""
    frames = np.empty((len(colours), height, width, 3), np.uint8)
    frames[:] = np.array(colours, np.uint8)[:, None, None]
    return frames


COLOURS = [(255, 255, 255), (0, 0, 0), (220, 30, 30), (30, 200, 40), (20, 40, 220)]


def test_each_picture_is_there_at_its_time_and_in_its_colour() -> None:
    pictures = shown(encode(plain(*COLOURS), fps=3.75))
    assert [time_s for time_s, _ in pictures] == pytest.approx([n / 3.75 for n in range(5)])
    for (_, picture), colour in zip(pictures, COLOURS, strict=True):
        assert picture[128, 128] == pytest.approx(np.array(colour), abs=6)


def test_is_what_browsers_play() -> None:
    video = encode(plain(*COLOURS), fps=10)
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
        (81, 101, (242, 302)),  # 243 x 303, whose last row and column are left out
        (2, 2, (240, 240)),
        (10, 1000, (10, 1000)),  # to enlarge it would make it wider than screens
        (301, 245, (300, 244)),
    ],
)
def test_small_pictures_are_enlarged_and_sides_are_even(
    height: int, width: int, size: tuple[int, int]
) -> None:
    [(_, picture)] = shown(encode(plain((200, 100, 50), height=height, width=width), fps=1))
    assert picture.shape == (*size, 3)


def test_enlarged_pixels_stay_squares() -> None:
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    frames[0, 2, 3] = 255
    [(_, picture)] = shown(encode(frames, fps=1))
    assert picture[60:90, 90:120].min() > 220
    assert picture[60:90, 124:150].max() < 40
    assert picture[94:120, 90:120].max() < 40


def test_the_same_clip_gives_the_same_bytes() -> None:
    assert encode(plain(*COLOURS), fps=8) == encode(plain(*COLOURS), fps=8)


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
def test_what_is_no_clip_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"clip frames must be uint8 \(T, H, W, 3\)"):
        encode(frames, fps=8)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_rates_that_are_none_are_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be above 0"):
        encode(plain((0, 0, 0)), fps=fps)
