"""Captions drawn on frames."""

from __future__ import annotations

import numpy as np
import pytest

from ui.cli.overlay import Caption, caption_at, draw

LONG = "a person walks up to a door and opens it very slowly " * 3
FEW = Caption("00:03.5", (("wave", 1.5),), (("wave", 0.9), ("rest", 0.1)))


def noise_frame(height: int, width: int) -> np.ndarray:
    """Noise, uint8 RGB (H, W, 3), read-only like camera frames."""
    noise = np.random.default_rng(3).integers(60, 200, (height, width, 3)).astype(np.uint8)
    noise.flags.writeable = False
    return noise


def differing(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mask (H, W) of the pixels that differ."""
    return (before != after).any(axis=2)


def test_only_the_pixels_of_the_caption_change() -> None:
    before = noise_frame(480, 640)
    after = draw(before, FEW)
    differs = differing(before, after)
    assert (after.shape, after.dtype) == (before.shape, np.uint8)
    assert differs[:130, :300].mean() > 0.5
    assert not differs[150:].any()
    assert not differs[:, 310:].any()


def test_input_frame_is_not_modified() -> None:
    before = noise_frame(480, 640)
    copy = before.copy()
    draw(before, FEW)
    assert np.array_equal(before, copy)


def test_drawing_is_deterministic() -> None:
    assert np.array_equal(draw(noise_frame(240, 320), FEW), draw(noise_frame(240, 320), FEW))


def test_higher_probability_has_a_longer_bar() -> None:
    before = noise_frame(480, 640)
    blue = [
        int((draw(before, Caption("", (), (("a", probability),)))[..., 2] > 200).sum())
        for probability in (0.0, 0.3, 0.9)
    ]
    assert blue == sorted(set(blue))


@pytest.mark.parametrize("label", [LONG, "x" * 500, "手を振る" * 40, "махать рукой", "👋 " * 60])
def test_labels_of_any_length_and_alphabet_stay_in_the_frame(label: str) -> None:
    before = noise_frame(240, 320)
    after = draw(before, Caption("00:00.0", ((label, 2.0),), ((label, 0.5),)))
    differs = differing(before, after)
    assert differs[:70].any()
    assert not differs[80:].any()  # one line each
    assert not differs[:, -4:].any()  # truncated before the edge
    bars = differs[44:]  # below the clock and the event
    assert not bars[:, round(0.45 * 320) + 8 :].any()


def test_label_with_line_breaks_is_drawn_on_one_line() -> None:
    before = noise_frame(240, 320)
    broken = draw(before, Caption("", (("wave\nhand\t\r", 1.0),), ()))
    assert np.array_equal(broken, draw(before, Caption("", (("wave hand", 1.0),), ())))


@pytest.mark.parametrize("height", [1, 2, 16, 17, 33])
@pytest.mark.parametrize("width", [1, 2, 16, 19, 301])
def test_tiny_and_odd_frames_are_supported(height: int, width: int) -> None:
    before = noise_frame(height, width)
    caption = Caption("100:00.0", ((LONG, 100.0),) * 5, ((LONG, 1.0),) * 20)
    assert draw(before, caption).shape == before.shape


def test_lines_below_the_frame_are_omitted() -> None:
    before = noise_frame(120, 320)
    many = Caption("00:00.0", tuple((f"event {number}", 1.0) for number in range(50)), ())
    few = Caption("00:00.0", many.events[:10], ())
    assert np.array_equal(draw(before, many), draw(before, few))


def test_caption_has_the_events_of_its_time() -> None:
    events = [("wave", 1.0, 3.0), ("fall", 3.0, 4.0), ("rest", 61.0, 62.0)]
    caption = caption_at(3.0, [("wave", 0.7)], events)
    assert caption == Caption("00:03.0", (("wave", 2.0), ("fall", 0.0)), (("wave", 0.7),))
    assert caption_at(75.25, [], events) == Caption("01:15.2", (), ())
    assert caption_at(59.97, [], []).clock == "01:00.0"
