from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.corruptions import CORRUPTIONS, corrupted
from stream.synthetic.clips import draw_clip

VIEWS = draw_clip(np.random.default_rng(1), difficulty=0.5).frames[None]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_changes_every_frame_slightly_and_not_the_input(name: str) -> None:
    before = VIEWS.copy()
    corrupt = corrupted(name, VIEWS, np.random.default_rng(0))
    assert np.array_equal(VIEWS, before)
    assert (corrupt.shape, corrupt.dtype) == (VIEWS.shape, np.uint8)
    changes = np.abs(corrupt.astype(int) - VIEWS).reshape(8, -1).mean(axis=1)
    assert (changes > 0.5).all()
    # The content is still visible.
    correlation = np.corrcoef(corrupt.ravel(), VIEWS.ravel())[0, 1]
    assert correlation > 0.8


def test_dark_is_darker_and_jpeg_keeps_the_channels() -> None:
    red = np.zeros((1, 2, 32, 32, 3), np.uint8)
    red[..., 0] = 200
    assert corrupted("dark", red, np.random.default_rng(0))[..., 0].max() == 60
    compressed = corrupted("jpeg", red, np.random.default_rng(0))
    assert compressed[..., 0].min() > 150
    assert compressed[..., 1:].max() < 50


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_lower_strength_changes_less(name: str) -> None:
    changes = [
        np.abs(corrupted(name, VIEWS, np.random.default_rng(0), strength).astype(int) - VIEWS).sum()
        for strength in (0.0, 0.4, 1.0)
    ]
    # JPEG changes pixels even at the best quality.
    assert changes[0] < 0.2 * changes[1] or name == "jpeg"
    assert changes[0] < changes[1] < changes[2]


def test_same_seed_gives_the_same_noise() -> None:
    one, other = (corrupted("noise", VIEWS, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one, other)
