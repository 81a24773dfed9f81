from __future__ import annotations

import numpy as np
import pytest

from stream.capture.frame_quality import FrameQualityCheck


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def filled(value: object) -> np.ndarray:
    pixels = noise(0)
    pixels[:60] = value
    return pixels


@pytest.mark.parametrize(
    ("pixels", "fault"),
    [
        (np.full((96, 128, 3), 9, np.uint8), "black frame"),
        (filled(128), "undecoded frame"),
        (filled((0, 135, 0)), "undecoded frame"),
        (filled((90, 120, 70)), ""),  # a meadow
        (noise(1), ""),
    ],
)
def test_frames_without_content_are_reported(pixels: np.ndarray, fault: str) -> None:
    check = FrameQualityCheck()
    assert check.update(pixels, 0.0) == bool(fault)
    assert check.fault == fault


def test_plain_wall_is_no_fault() -> None:
    wall = np.random.default_rng(0).normal(128, 2, (96, 128, 1)).repeat(3, axis=2)
    assert not FrameQualityCheck().update(wall.astype(np.uint8), 0.0)


def test_unchanged_frames_are_frozen_until_they_change() -> None:
    check = FrameQualityCheck()
    faulty = [check.update(noise(0), number / 25) for number in range(12 * 25)]
    assert (check.fault, check.since_s) == ("frozen frame", 0.0)
    assert 3 <= sum(faulty) <= 5  # two a second are checked, from the tenth second on
    assert not check.update(noise(1), 13.0)
    assert check.fault == ""


def test_fault_starts_at_its_first_frame() -> None:
    check, dark = FrameQualityCheck(), np.full((96, 128, 3), 9, np.uint8)
    for number in range(8):
        check.update(noise(number) if number < 4 else dark, float(number))
    assert (check.fault, check.since_s) == ("black frame", 4.0)
