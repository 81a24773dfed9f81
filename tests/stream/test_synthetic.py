from __future__ import annotations

import itertools

import numpy as np
import pytest

from stream.synthetic import MOTIONS, STILL, Motion, Scene, draw_clip, random_motion

START = np.array([0.5, 0.5, 0.3, 0.0])


@pytest.mark.parametrize(
    ("name", "column", "sign"),
    [
        ("move left", 0, -1),
        ("move right", 0, 1),
        ("move up", 1, -1),  # y grows downwards, as rows of a picture do
        ("move down", 1, 1),
        ("approach", 2, 1),
        ("recede", 2, -1),
        ("rotate clockwise", 3, 1),
        ("rotate counter-clockwise", 3, -1),
    ],
)
def test_a_motion_changes_what_its_name_says_and_nothing_else(
    name: str, column: int, sign: int
) -> None:
    motion = random_motion(np.random.default_rng(1), name)
    poses = motion.poses(START, np.array([0.0, 0.5, 1.0]))
    change = poses - START
    assert (np.sign(change[1:, column]) == sign).all()
    assert np.abs(change[2, column]) > np.abs(change[1, column])
    assert not np.delete(change, column, axis=1).any()


def test_a_wave_returns_and_a_still_scene_stays() -> None:
    wave = Motion("wave", rate=1.0, reach=0.1)
    poses = wave.poses(START, np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert poses[:, 0] == pytest.approx([0.5, 0.6, 0.5, 0.4, 0.5])
    assert (Motion(STILL).poses(START, np.arange(3.0)) == START).all()


def red_blob_centre(picture: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Centre (x, y) of what differs from the background, shares of the picture."""
    differs = np.abs(picture.astype(int) - background).sum(axis=2) > 15
    rows, columns = np.nonzero(differs)
    return np.array([columns.mean() / picture.shape[1], rows.mean() / picture.shape[0]])


@pytest.mark.parametrize("name", MOTIONS[1:5])
def test_the_drawn_object_goes_where_its_label_says(name: str) -> None:
    clip = draw_clip(np.random.default_rng(3), difficulty=0.0, label=MOTIONS.index(name))
    background = np.median(clip.frames.reshape(-1, 3), axis=0)
    first, last = (red_blob_centre(frame, background) for frame in clip.frames[[0, -1]])
    moved = last - first
    expected = clip.poses[-1, :2] - clip.poses[0, :2]
    # It may stick out of the picture, which shifts the centre of what is seen.
    assert moved == pytest.approx(expected, abs=0.1)
    assert np.abs(moved).max() > 0.1


def test_rotation_is_clockwise_on_the_screen() -> None:
    clip = draw_clip(
        np.random.default_rng(11), difficulty=0.0, label=MOTIONS.index("rotate clockwise"), size=96
    )
    turned_s = np.diff(clip.poses[:, 3])
    assert (turned_s > 0).all()
    # Turn the first picture about the object by the known angle: clockwise must fit better.
    import cv2

    angle = float(clip.poses[3, 3] - clip.poses[0, 3])
    centre = (float(clip.poses[0, 0] * 96), float(clip.poses[0, 1] * 96))

    def misfit(degrees: float) -> float:
        # OpenCV's positive angles are counter-clockwise.
        turn = cv2.getRotationMatrix2D(centre, degrees, 1.0)
        guess = cv2.warpAffine(clip.frames[0], turn, (96, 96), borderMode=cv2.BORDER_REPLICATE)
        return float(np.abs(guess.astype(int) - clip.frames[3]).mean())

    assert misfit(-angle) < 0.7 * misfit(angle)


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("label", range(len(MOTIONS)))
def test_every_clip_can_be_drawn(difficulty: float, label: int) -> None:
    for seed in range(10):
        clip = draw_clip(np.random.default_rng(seed), difficulty=difficulty, label=label)
        assert clip.frames.shape == (8, 64, 64, 3)
        assert clip.frames.dtype == np.uint8
        assert clip.label == label
        assert ((clip.poses[:, :2] > 0) & (clip.poses[:, :2] < 1)).all()


def test_the_same_seed_draws_the_same() -> None:
    one, other = (draw_clip(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.frames, other.frames)
    assert np.array_equal(Scene(2).picture(7.0), Scene(2).picture(7.0))
    assert not np.array_equal(Scene(2).picture(7.0), Scene(3).picture(7.0))


def test_a_scene_knows_its_truth() -> None:
    scene = Scene(4)
    truth = scene.truth(120.0)
    assert len({segment.label for segment in truth}) >= 5
    for segment, following in itertools.pairwise(truth):
        assert segment.label in MOTIONS[1:]
        assert 1.8 <= segment.end_s - segment.start_s <= 5.0
        assert following.start_s - segment.end_s >= 1.5  # a rest


def test_a_scene_moves_only_while_its_truth_says_so() -> None:
    scene = Scene(4)
    first = scene.truth(20.0)[0]
    resting = scene.picture(first.start_s - 0.5), scene.picture(first.start_s - 0.1)
    moving = scene.picture(first.start_s), scene.picture(first.start_s + 0.7)
    still, moved = (np.abs(a.astype(int) - b).max(axis=2) > 80 for a, b in (resting, moving))
    assert moved.sum() > 10 * still.sum()
