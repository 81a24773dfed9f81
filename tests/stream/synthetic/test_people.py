from __future__ import annotations

import numpy as np
import pytest

from stream.synthetic.people import JOINTS, Act, joints, postures

START = np.array([0.5, 0.9, 0.6])
SQUARE = np.array([1.0, 1.0])


def at(act: Act, *seconds: float) -> dict[str, np.ndarray]:
    """Position of each joint at each of `seconds`: (T, 2)."""
    positions = joints(postures(act, START, np.array(seconds)), SQUARE)
    return {name: positions[:, number] for number, name in enumerate(JOINTS)}


def test_standing_person_has_the_given_height_and_feet_on_the_ground() -> None:
    body = at(Act("still", "stand"), 0.0)
    assert body["left foot"][0, 1] == pytest.approx(0.9, abs=0.01)
    assert body["head"][0, 1] == pytest.approx(0.9 - 0.6 * 0.88, abs=0.01)  # the head's center
    assert body["right foot"][0, 0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("side", [1, -1])
def test_fall_ends_lying_on_the_given_side(side: int) -> None:
    body = at(Act("fall", "topple", side=side, duration_s=1.0), 0.0, 0.5, 1.0, 2.0)
    height = body["head"][:, 1]
    assert (np.diff(height[:3]) > 0.1).all()
    assert height[2] == pytest.approx(height[3])
    assert height[2] > 0.8
    assert side * (body["head"][2, 0] - body["left foot"][2, 0]) > 0.3


def test_getting_up_is_a_reversed_fall() -> None:
    down = at(Act("fall", "collapse", duration_s=1.0), 0.0, 0.4, 1.0)
    up = at(Act("get up", "collapse", duration_s=1.0), 1.0, 0.6, 0.0)
    for name in JOINTS:
        assert down[name] == pytest.approx(up[name]), name


def test_wave_moves_a_raised_hand_and_nothing_else() -> None:
    body = at(Act("wave", "one arm", rate=1.0, side=1), 0.5, 1.25, 1.75, 2.0)
    hand = body["right hand"]
    assert (hand[:, 1] < body["neck"][:, 1]).all()
    assert abs(hand[1, 0] - hand[2, 0]) > 0.05
    assert np.ptp(body["hip"], axis=0) == pytest.approx([0, 0])


def test_hop_lands_on_the_ground_between_two_jumps() -> None:
    body = at(Act("jump", "hop", rate=1.0), 0.0, 0.5, 1.0)
    lowest = np.maximum(body["left foot"][:, 1], body["right foot"][:, 1])
    assert lowest[[0, 2]] == pytest.approx([0.9, 0.9], abs=0.03)
    assert lowest[1] < 0.8


def test_walk_swings_the_legs_alternately() -> None:
    body = at(Act("move right", "walk", rate=0.3), *np.linspace(0, 1, 20))
    assert body["hip"][-1, 0] - body["hip"][0, 0] == pytest.approx(0.3)
    apart = body["left foot"][:, 0] - body["right foot"][:, 0]
    assert apart.max() > 0.1
    assert apart.min() < -0.1


def test_people_are_squashed_with_the_frame() -> None:
    rows = postures(Act("still", "lie"), START, np.zeros(1))
    wide, tall = (np.ptp(joints(rows, np.array(unit))[0], axis=0) for unit in ((1, 1), (0.5, 1)))
    assert tall[0] == pytest.approx(wide[0] / 2)
    assert tall[1] == pytest.approx(wide[1])
