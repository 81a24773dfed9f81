from __future__ import annotations

import numpy as np
import pytest

from stream.synthetic.motions import OTHER, STILL, Motion, random_motion

START = np.array([0.5, 0.5, 0.3, 0.0])


@pytest.mark.parametrize(
    ("name", "column", "sign"),
    [
        ("move left", 0, -1),
        ("move right", 0, 1),
        ("move up", 1, -1),  # y grows downwards, like the rows of an image
        ("move down", 1, 1),
        ("approach", 2, 1),
        ("recede", 2, -1),
        ("rotate clockwise", 3, 1),
        ("rotate counter-clockwise", 3, -1),
    ],
)
def test_named_motion_changes_only_its_own_coordinate(name: str, column: int, sign: int) -> None:
    motion = random_motion(np.random.default_rng(1), name)
    poses = motion.poses(START, np.array([0.0, 0.5, 1.0]))
    change = poses - START
    assert (np.sign(change[1:, column]) == sign).all()
    assert np.abs(change[2, column]) > np.abs(change[1, column])
    assert not np.delete(change, column, axis=1).any()


def test_wave_returns_and_still_does_not_move() -> None:
    wave = Motion("wave", rate=1.0, reach=0.1)
    poses = wave.poses(START, np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert poses[:, 0] == pytest.approx([0.5, 0.6, 0.5, 0.4, 0.5])
    assert (Motion(STILL).poses(START, np.arange(3.0)) == START).all()


def test_jump_goes_up_and_lands_where_it_started() -> None:
    jump = Motion("jump", rate=1.0, reach=0.2)
    poses = jump.poses(START, np.array([0.0, 0.5, 1.0, 1.5, 2.0]))
    assert poses[:, 1] == pytest.approx([0.5, 0.3, 0.5, 0.3, 0.5])
    assert not jump.seconds_that_fit(np.array([0.5, 0.2, 0.3, 0.0]))


@pytest.mark.parametrize("seed", range(20))
def test_other_motions_change_their_direction(seed: int) -> None:
    motion = random_motion(np.random.default_rng(seed), OTHER)
    poses = motion.poses(START, np.linspace(0, 1.4, 29))
    steps = np.diff(poses, axis=0)
    assert np.abs(steps).max() > 1e-3
    # A named motion would keep its direction.
    directions = np.sign(steps[np.abs(steps).max(axis=1) > 1e-4])
    assert any(len(set(column.tolist())) > 1 for column in directions.T)
