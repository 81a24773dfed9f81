from __future__ import annotations

import numpy as np
import pytest

from model.evaluation.corruptions import CORRUPTIONS, corrupted
from stream.synthetic import draw_clip

VIEWS = draw_clip(np.random.default_rng(1), difficulty=0.5).frames[None]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_every_frame_a_little_and_no_other_array(name: str) -> None:
    before = VIEWS.copy()
    spoilt = corrupted(name, VIEWS, np.random.default_rng(0))
    assert np.array_equal(VIEWS, before)
    assert (spoilt.shape, spoilt.dtype) == (VIEWS.shape, np.uint8)
    changes = np.abs(spoilt.astype(int) - VIEWS).reshape(8, -1).mean(axis=1)
    assert (changes > 0.5).all()
    # What is to be seen is still there.
    together = np.corrcoef(spoilt.ravel(), VIEWS.ravel())[0, 1]
    assert together > 0.8


def test_the_dark_is_dark_and_colours_stay_in_their_places() -> None:
    red = np.zeros((1, 2, 32, 32, 3), np.uint8)
    red[..., 0] = 200
    assert corrupted("dark", red, np.random.default_rng(0))[..., 0].max() == 60
    squeezed = corrupted("jpeg", red, np.random.default_rng(0))
    assert squeezed[..., 0].min() > 150
    assert squeezed[..., 1:].max() < 50


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_weaker_corruption_changes_less(name: str) -> None:
    changes = [
        np.abs(corrupted(name, VIEWS, np.random.default_rng(0), strength).astype(int) - VIEWS).sum()
        for strength in (0.0, 0.4, 1.0)
    ]
    # JPEG changes something at its best, too.
    assert changes[0] < 0.2 * changes[1] or name == "jpeg"
    assert changes[0] < changes[1] < changes[2]


def test_the_same_generator_makes_the_same_noise() -> None:
    one, other = (corrupted("noise", VIEWS, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one, other)
