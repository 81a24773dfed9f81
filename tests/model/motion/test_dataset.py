from __future__ import annotations

import numpy as np
import torch

from model.motion.dataset import DrawnClips, motion_field, with_backwards
from stream.synthetic import MOTIONS

SHAPE = {"frames": 4, "size": 32, "patch": 8, "span_s": 1.6}


def test_a_clip_is_known_by_its_number_alone() -> None:
    whole = DrawnClips(seed=1, split="train", first=0, last=10, **SHAPE)
    rest = DrawnClips(seed=1, split="train", first=6, last=10, **SHAPE)
    assert (len(whole), len(rest)) == (10, 4)
    for one, other in zip(whole[7], rest[1], strict=True):
        assert torch.equal(one, other)


def test_backwards_clips_have_the_opposite_label_and_field() -> None:
    clips = DrawnClips(seed=1, split="train", first=0, last=40, difficulty=0.0, **SHAPE)
    batch = [torch.stack(part) for part in zip(*(clips[i] for i in range(40)), strict=True)]
    frames, labels, field = with_backwards(*batch)
    assert (len(frames), len(labels), len(field)) == (80, 80, 80)
    assert torch.equal(frames[40], frames[0].flip(0))
    named = [MOTIONS[label] for label in labels.tolist()]
    opposites = set(zip(named[:40], named[40:], strict=True))
    assert ("move left", "move right") in opposites
    assert ("rotate clockwise", "rotate counter-clockwise") in opposites
    assert ("still", "still") in opposites
    assert torch.equal(field[40, 0, :, 0], field[0, -1, :, 0])
    assert torch.equal(field[40, 0, :, 1:], -field[0, -1, :, 1:])


def test_held_out_clips_are_not_those_of_the_training() -> None:
    train = DrawnClips(seed=1, split="train", first=0, last=1, **SHAPE)
    held_out = DrawnClips(seed=1, split="held out", first=0, last=1, **SHAPE)
    assert not torch.equal(train[0][0], held_out[0][0])


def test_the_motion_field_says_where_and_how() -> None:
    # An object of half the picture's width goes right by 0.06 a step from the left edge.
    poses = np.array([[0.25 + 0.06 * t, 0.25, 0.45, 0.0] for t in range(4)])
    field = motion_field(poses, np.array([1.0, 1.0]), 4)
    assert field.shape == (4, 16, 5)
    covered = field[0, :, 0].reshape(4, 4)
    assert covered[:2, :2].all()
    assert not covered[:, 3].any()
    assert not covered[3].any()
    assert np.allclose(field[0, 0, 1:], [1, 0, 0, 0])
