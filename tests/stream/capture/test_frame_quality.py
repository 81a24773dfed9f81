from __future__ import annotations

import numpy as np
import pytest

from stream.capture.frame_quality import PictureCheck


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 128, 3), dtype=np.uint8)


def filled(value: object) -> np.ndarray:
    pixels = noise(0)
    pixels[:60] = value
    return pixels


@pytest.mark.parametrize(
    ("pixels", "fault"),
    [
        (np.full((96, 128, 3), 9, np.uint8), "black picture"),
        (filled(128), "undecoded picture"),
        (filled((0, 135, 0)), "undecoded picture"),
        (filled((90, 120, 70)), ""),  # a meadow
        (noise(1), ""),
    ],
)
def test_pictures_that_show_nothing_are_named(pixels: np.ndarray, fault: str) -> None:
    check = PictureCheck()
    assert check.see(pixels, 0.0) == bool(fault)
    assert check.fault == fault


def test_a_wall_is_no_fault() -> None:
    wall = np.random.default_rng(0).normal(128, 2, (96, 128, 1)).repeat(3, axis=2)
    assert not PictureCheck().see(wall.astype(np.uint8), 0.0)


def test_a_picture_that_never_changes_is_frozen_until_it_does() -> None:
    check = PictureCheck()
    seen = [check.see(noise(0), number / 25) for number in range(12 * 25)]
    assert (check.fault, check.since_s) == ("frozen picture", 0.0)
    assert 3 <= sum(seen) <= 5  # two a second are looked at, from the tenth second on
    assert not check.see(noise(1), 13.0)
    assert check.fault == ""


def test_a_fault_is_dated_by_its_first_picture() -> None:
    check, dark = PictureCheck(), np.full((96, 128, 3), 9, np.uint8)
    for number in range(8):
        check.see(noise(number) if number < 4 else dark, float(number))
    assert (check.fault, check.since_s) == ("black picture", 4.0)
