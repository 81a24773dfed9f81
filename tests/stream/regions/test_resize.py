from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream.messages import FITS, ClipSpec
from stream.regions.resize import fit_frame


def split_image() -> np.ndarray:
    """40 x 80: black, with a white right quarter."""
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 60:] = 255
    return image


def test_squash_keeps_the_whole_image(spec: ClipSpec) -> None:
    small = fit_frame(split_image(), spec)
    assert small.shape == (8, 8, 3)
    assert (small[:, :6] == 0).all()
    assert (small[:, 6:] == 255).all()


def test_crop_uses_the_center(spec: ClipSpec) -> None:
    small = fit_frame(split_image(), replace(spec, fit="crop", shortest_edge=8))
    assert small.shape == (8, 8, 3)
    assert (small == 0).all()  # columns 20 to 60 of 80


def test_crop_after_resize_to_a_larger_shortest_edge(spec: ClipSpec) -> None:
    wide = replace(spec, fit="crop", shortest_edge=16)
    assert fit_frame(split_image(), wide).shape == (8, 8, 3)


def test_image_of_the_right_size_is_unchanged(spec: ClipSpec) -> None:
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    assert np.array_equal(fit_frame(image, spec), image)


def test_shrinking_averages_all_pixels(spec: ClipSpec) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (np.abs(fit_frame(stripes, spec).astype(int) - 100) <= 1).all()


def test_letterbox_adds_gray_bars_to_the_whole_image(spec: ClipSpec) -> None:
    small = fit_frame(split_image(), replace(spec, fit="letterbox"))
    assert small.shape == (8, 8, 3)
    assert (small[:2] == 115).all()
    assert (small[6:] == 115).all()
    assert (small[2:6, :6] == 0).all()
    assert (small[2:6, 6:] == 255).all()
    tall = fit_frame(split_image().transpose(1, 0, 2), replace(spec, fit="letterbox"))
    assert (tall[:, :2] == 115).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (7, 9), (2160, 3840)])
@pytest.mark.parametrize("fit", FITS)
def test_any_image_size_fits(spec: ClipSpec, fit: str, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 7, np.uint8)
    small = fit_frame(image, replace(spec, fit=fit))
    assert small.shape == (8, 8, 3)
    assert (small == 7).any()
