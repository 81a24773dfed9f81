from __future__ import annotations

import itertools

import numpy as np
import pytest

from stream.synthetic.motions import MOTIONS, OTHER
from stream.synthetic.scene import Scene


def test_same_seed_renders_the_same_scene() -> None:
    assert np.array_equal(Scene(2).render(7.0), Scene(2).render(7.0))
    assert not np.array_equal(Scene(2).render(7.0), Scene(3).render(7.0))


@pytest.mark.parametrize("seed", range(1, 13, 2))
def test_scene_has_ground_truth(seed: int) -> None:
    truth = Scene(seed).ground_truth(120.0)
    assert len({segment.label for segment in truth}) >= 5
    for segment, following in itertools.pairwise(truth):
        assert segment.label in MOTIONS[1:]
        assert segment.label not in (OTHER, "fall", "get up", "struggle")  # of people only
        assert 1.8 <= segment.end_s - segment.start_s <= 5.0
        assert following.start_s - segment.end_s >= 1.5  # a rest


@pytest.mark.parametrize("seed", range(0, 12, 2))
def test_person_gets_up_after_each_fall(seed: int) -> None:
    truth = Scene(seed).ground_truth(120.0)
    assert len({segment.label for segment in truth}) >= 6
    labels = [segment.label for segment in truth]
    assert "fall" in labels
    for one, following in itertools.pairwise(labels):
        assert (one == "fall") == (following == "get up")


@pytest.mark.parametrize("seed", [4, 5])
def test_scene_moves_only_during_its_segments(seed: int) -> None:
    scene = Scene(seed)
    first = scene.ground_truth(20.0)[0]
    resting = scene.render(first.start_s - 0.5), scene.render(first.start_s - 0.1)
    moving = scene.render(first.start_s), scene.render(first.start_s + 0.7)
    still, moved = (np.abs(a.astype(int) - b).max(axis=2) > 80 for a, b in (resting, moving))
    assert moved.sum() > 10 * still.sum()


@pytest.mark.parametrize("seed", range(8))
def test_state_is_continuous_between_motions(seed: int) -> None:
    scene = Scene(seed, width=160, height=120)
    body = slice(0, 5)  # the pose of a thing; of a person all but the limbs
    for segment in scene.ground_truth(60.0):
        for moment in (segment.start_s, segment.end_s):
            before, after = (scene.state(moment + by)[body] for by in (-1e-4, 1e-4))
            # A jump starts and ends on bent knees, and a fall ends abruptly.
            assert np.abs(after - before)[:4].max() < 0.07, segment
