from __future__ import annotations

import numpy as np
import pytest

from model.training.augment import augment, mirrored_labels
from model.training.train_config import TrainConfig


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("fall", "sit"), [0, 1]),
        (("slide left", "slide right", "still"), [1, 0, 2]),
        (("Slide Left", "slide right"), [1, 0]),
        (("turn_clockwise", "jump"), [None, 1]),
        (("leftover", "up"), [None, 1]),  # when in doubt, never mirror
        (("left to right", "right to left"), [1, 0]),
        (("turn-left", "turn-right"), [1, 0]),
        (("TurnLeft", "TurnRight"), [1, 0]),
        (("wave (left)", "wave (right)", "wave"), [1, 0, 2]),
        (("Turning Hand Clockwise", "Turning Hand Counterclockwise"), [1, 0]),
        (("rotate clockwise", "rotate counter-clockwise"), [1, 0]),
        (("Run", "run"), [0, 1]),
        (("rotate CW", "rotate CCW", "l'enfant court"), [1, 0, 2]),
        (("nach links", "nach rechts"), [1, 0]),
    ],
)
def test_mirror_swaps_direction_labels(labels: tuple[str, ...], expected: list[int | None]) -> None:
    assert mirrored_labels(labels) == expected


def test_all_frames_of_a_clip_get_the_same_augmentation() -> None:
    rng = np.random.default_rng(0)
    clip = np.repeat(rng.integers(0, 256, (1, 20, 30, 3), dtype=np.uint8), 4, axis=0)
    changed = augment(clip, (16, 16), TrainConfig(), rng)
    assert changed.shape == (4, 16, 16, 3)
    assert changed.dtype == np.uint8
    assert (changed == changed[:1]).all()


def test_zero_strength_changes_nothing() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    same = augment(
        clip, (16, 16), TrainConfig(random_crop=0, color_jitter=0), np.random.default_rng(1)
    )
    assert (same == clip).all()


def test_crop_position_is_random() -> None:
    clip = np.zeros((1, 64, 64, 3), np.uint8)
    clip[:, :32, :32] = 255
    means = {
        round(
            float(augment(clip, (8, 8), TrainConfig(random_crop=0.6, color_jitter=0), rng).mean())
        )
        for rng in map(np.random.default_rng, range(8))
    }
    assert len(means) > 4
