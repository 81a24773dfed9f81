from __future__ import annotations

import numpy as np
import pytest
import torch

from model.pretraining.dataset import SPLITS, DrawnClips, motion_field, with_backwards
from stream.synthetic import MOTIONS, draw_clip

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


@pytest.mark.parametrize(("split", "difficulty"), [("train", 1.0), ("train", 0.0), ("held out", 1)])
def test_clips_to_train_on_are_spoilt_and_no_others(split: str, difficulty: float) -> None:
    clips = DrawnClips(seed=1, split=split, first=0, last=20, difficulty=difficulty, **SHAPE)
    spoilt = 0
    for number in range(20):
        rng = np.random.default_rng((1, SPLITS[split], number))
        drawn = draw_clip(rng, frames=4, size=32, difficulty=difficulty)
        frames, label, _ = clips[number]
        assert label == drawn.label
        spoilt += not np.array_equal(frames.numpy(), drawn.frames)
    assert (spoilt > 2) == (split == "train" and difficulty == 1.0)
    assert spoilt < 16


def box(count: int, **changes: np.ndarray | float) -> np.ndarray:
    """Parts (T, 1, 6) of one thing in the middle of the picture."""
    columns = {"x": 0.5, "y": 0.5, "wide": 0.25, "high": 0.25, "size": 0.0, "angle": 0.0}
    row = [np.broadcast_to(changes.get(name, value), count) for name, value in columns.items()]
    return np.stack(row, axis=1)[:, None]


def field_of(parts: np.ndarray, aspect: float = 1.0) -> np.ndarray:
    return motion_field(parts, np.array([1 / aspect, 1.0]), 4).reshape(len(parts), 4, 4, 5)


def test_the_motion_field_says_where_and_which_way() -> None:
    # A thing of half the picture's width goes right by 0.06 a step from the left upper corner.
    field = field_of(box(4, x=0.25 + 0.06 * np.arange(4), y=0.25))
    assert field.shape == (4, 4, 4, 5)
    assert field[0, :2, :2, 0].all()
    assert not field[0, :, 3, 0].any()
    assert not field[0, 3, :, 0].any()
    assert np.allclose(field[0, 0, 0, 1:], [1, 0, 0, 0])


def test_each_side_of_a_thing_that_turns_goes_its_own_way() -> None:
    field = field_of(box(4, angle=np.degrees(0.4) * np.arange(4)))[1]
    assert np.allclose(field[1:3, 1:3, 4], 1.0)
    assert (field[1, 1:3, 1] > 0).all()  # clockwise: above to the right,
    assert (field[2, 1:3, 1] < 0).all()  # below to the left,
    assert (field[1:3, 2, 2] > 0).all()  # and on the right down
    assert np.abs(field[1:3, 1:3, 1:3].mean(axis=(0, 1))).max() < 1e-6


def test_what_grows_moves_away_from_its_middle_in_a_squashed_picture_too() -> None:
    for aspect in (1.0, 16 / 9):
        field = field_of(box(4, size=0.1 * np.arange(4)), aspect)[1]
        assert np.allclose(field[1:3, 1:3, 3], 1.0)
        away = np.array([-0.125, 0.125]) * 0.1 / 0.06
        assert np.allclose(field[1, 1:3, 1], away, atol=1e-5)
        assert np.allclose(field[1:3, 1, 2], away, atol=1e-5)


def test_what_stands_in_front_counts() -> None:
    still, moving = box(4), box(4, x=0.5 + 0.06 * np.arange(4), wide=0.1, high=0.1)
    assert (field_of(np.concatenate([still, moving], axis=1))[0, 1:3, 1:3, 1] > 0.9).any()
    assert not field_of(np.concatenate([moving, still], axis=1))[0, 1:3, 1:3, 1].any()


def test_two_processes_draw_what_one_would() -> None:
    shares = [
        DrawnClips(seed=1, split="train", first=rank, last=5, every=2, **SHAPE) for rank in (0, 1)
    ]
    whole = DrawnClips(seed=1, split="train", first=0, last=5, **SHAPE)
    assert [len(share) for share in shares] == [3, 2]
    assert torch.equal(shares[0][2][0], whole[4][0])
    assert torch.equal(shares[1][1][0], whole[3][0])
