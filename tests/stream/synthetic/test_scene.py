from __future__ import annotations

import itertools

import numpy as np
import pytest

from stream.synthetic import MOTIONS, OTHER, Scene


def test_the_same_seed_draws_the_same() -> None:
    assert np.array_equal(Scene(2).picture(7.0), Scene(2).picture(7.0))
    assert not np.array_equal(Scene(2).picture(7.0), Scene(3).picture(7.0))


@pytest.mark.parametrize("seed", range(1, 13, 2))
def test_a_scene_knows_its_truth(seed: int) -> None:
    truth = Scene(seed).truth(120.0)
    assert len({segment.label for segment in truth}) >= 5
    for segment, following in itertools.pairwise(truth):
        assert segment.label in MOTIONS[1:]
        assert segment.label not in (OTHER, "fall", "get up", "struggle")  # a thing can't
        assert 1.8 <= segment.end_s - segment.start_s <= 5.0
        assert following.start_s - segment.end_s >= 1.5  # a rest


@pytest.mark.parametrize("seed", range(0, 12, 2))
def test_a_person_gets_up_after_each_fall_and_does_all_else_standing(seed: int) -> None:
    truth = Scene(seed).truth(120.0)
    assert len({segment.label for segment in truth}) >= 6
    labels = [segment.label for segment in truth]
    assert "fall" in labels
    for one, following in itertools.pairwise(labels):
        assert (one == "fall") == (following == "get up")


@pytest.mark.parametrize("seed", [4, 5])
def test_a_scene_moves_only_while_its_truth_says_so(seed: int) -> None:
    scene = Scene(seed)
    first = scene.truth(20.0)[0]
    resting = scene.picture(first.start_s - 0.5), scene.picture(first.start_s - 0.1)
    moving = scene.picture(first.start_s), scene.picture(first.start_s + 0.7)
    still, moved = (np.abs(a.astype(int) - b).max(axis=2) > 80 for a, b in (resting, moving))
    assert moved.sum() > 10 * still.sum()


@pytest.mark.parametrize("seed", range(8))
def test_nobody_leaps_between_two_motions(seed: int) -> None:
    scene = Scene(seed, width=160, height=120)
    body = slice(0, 5)  # the pose of a thing; of a person all but the limbs
    for segment in scene.truth(60.0):
        for moment in (segment.start_s, segment.end_s):
            before, after = (scene.state(moment + by)[body] for by in (-1e-4, 1e-4))
            # A jump begins and ends on bent knees, a fall on the ground with a jolt.
            assert np.abs(after - before)[:4].max() < 0.07, segment
