from __future__ import annotations

import numpy as np
import pytest
import torch

from model.pretraining.dataset import SPLITS, SyntheticClips, motion_field, with_reversed
from stream.messages import ClipSpec
from stream.synthetic.clips import draw_clip
from stream.synthetic.motions import MOTIONS


def clips_of(numbers: range, split: str = "train", difficulty: float = 1.0) -> SyntheticClips:
    spec = ClipSpec("tiny", MOTIONS, frozenset(), 4, 1.6, 32, 32)
    return SyntheticClips(spec, 8, numbers, 1, split, difficulty)


def test_a_clip_depends_only_on_its_number() -> None:
    whole = clips_of(range(10))
    rest = clips_of(range(6, 10))
    assert (len(whole), len(rest)) == (10, 4)
    for one, other in zip(whole[7], rest[1], strict=True):
        assert torch.equal(one, other)


def test_reversed_clips_have_the_opposite_label_and_field() -> None:
    clips = clips_of(range(40), difficulty=0.0)
    batch = [torch.stack(part) for part in zip(*(clips[i] for i in range(40)), strict=True)]
    frames, labels, field = with_reversed(*batch)
    assert (len(frames), len(labels), len(field)) == (80, 80, 80)
    assert torch.equal(frames[40], frames[0].flip(0))
    names = [MOTIONS[label] for label in labels.tolist()]
    opposites = set(zip(names[:40], names[40:], strict=True))
    assert ("move left", "move right") in opposites
    assert ("rotate clockwise", "rotate counter-clockwise") in opposites
    assert ("still", "still") in opposites
    assert torch.equal(field[40, 0, :, 0], field[0, -1, :, 0])
    assert torch.equal(field[40, 0, :, 1:], -field[0, -1, :, 1:])


def test_held_out_clips_differ_from_training_clips() -> None:
    train = clips_of(range(1))
    held_out = clips_of(range(1), "held out")
    assert not torch.equal(train[0][0], held_out[0][0])


@pytest.mark.parametrize(("split", "difficulty"), [("train", 1.0), ("train", 0.0), ("held out", 1)])
def test_only_hard_training_clips_are_corrupted(split: str, difficulty: float) -> None:
    clips = clips_of(range(20), split, difficulty)
    corrupted = 0
    for number in range(20):
        rng = np.random.default_rng((1, SPLITS[split], number))
        original = draw_clip(rng, frames=4, size=32, difficulty=difficulty)
        frames, label, _ = clips[number]
        assert label == original.label
        corrupted += not np.array_equal(frames.numpy(), original.frames)
    assert (corrupted > 2) == (split == "train" and difficulty == 1.0)
    assert corrupted < 16


def box(count: int, **changes: np.ndarray | float) -> np.ndarray:
    """Parts (T, 1, 6) of one object in the center of the frame."""
    columns = {"x": 0.5, "y": 0.5, "wide": 0.25, "high": 0.25, "size": 0.0, "angle": 0.0}
    row = [np.broadcast_to(changes.get(name, value), count) for name, value in columns.items()]
    return np.stack(row, axis=1)[:, None]


def field_of(parts: np.ndarray, aspect: float = 1.0) -> np.ndarray:
    return motion_field(parts, np.array([1 / aspect, 1.0]), 4).reshape(len(parts), 4, 4, 5)


def test_the_motion_field_has_position_and_direction() -> None:
    # An object of half the frame's width moves right by 0.06 per frame from the top left corner.
    field = field_of(box(4, x=0.25 + 0.06 * np.arange(4), y=0.25))
    assert field.shape == (4, 4, 4, 5)
    assert field[0, :2, :2, 0].all()
    assert not field[0, :, 3, 0].any()
    assert not field[0, 3, :, 0].any()
    assert np.allclose(field[0, 0, 0, 1:], [1, 0, 0, 0])


def test_each_side_of_a_rotating_object_has_its_own_direction() -> None:
    field = field_of(box(4, angle=np.degrees(0.4) * np.arange(4)))[1]
    assert np.allclose(field[1:3, 1:3, 4], 1.0)
    assert (field[1, 1:3, 1] > 0).all()  # clockwise: the top moves right,
    assert (field[2, 1:3, 1] < 0).all()  # the bottom moves left,
    assert (field[1:3, 2, 2] > 0).all()  # the right side moves down
    assert np.abs(field[1:3, 1:3, 1:3].mean(axis=(0, 1))).max() < 1e-6


def test_a_growing_object_moves_away_from_its_center_also_in_a_squashed_frame() -> None:
    for aspect in (1.0, 16 / 9):
        field = field_of(box(4, size=0.1 * np.arange(4)), aspect)[1]
        assert np.allclose(field[1:3, 1:3, 3], 1.0)
        outward = np.array([-0.125, 0.125]) * 0.1 / 0.06
        assert np.allclose(field[1, 1:3, 1], outward, atol=1e-5)
        assert np.allclose(field[1:3, 1, 2], outward, atol=1e-5)


def test_the_field_is_that_of_the_front_object() -> None:
    still, moving = box(4), box(4, x=0.5 + 0.06 * np.arange(4), wide=0.1, high=0.1)
    assert (field_of(np.concatenate([still, moving], axis=1))[0, 1:3, 1:3, 1] > 0.9).any()
    assert not field_of(np.concatenate([moving, still], axis=1))[0, 1:3, 1:3, 1].any()


def test_two_processes_render_the_clips_of_one() -> None:
    shards = [clips_of(range(rank, 5, 2)) for rank in (0, 1)]
    whole = clips_of(range(5))
    assert [len(shard) for shard in shards] == [3, 2]
    assert torch.equal(shards[0][2][0], whole[4][0])
    assert torch.equal(shards[1][1][0], whole[3][0])
