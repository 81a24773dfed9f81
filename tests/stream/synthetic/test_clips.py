from __future__ import annotations

import cv2
import numpy as np
import pytest

from stream.synthetic.clips import DrawnClip, draw_clip
from stream.synthetic.motions import MOTIONS, OTHER, STILL

SEEDS = range(12)


def drawn(name: str, seed: int, difficulty: float = 0.0) -> DrawnClip:
    label = MOTIONS.index(name)
    return draw_clip(np.random.default_rng(seed), difficulty=difficulty, label=label)


def foreground_center(image: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(x, y) of the foreground, fractions of the image."""
    differs = np.abs(image.astype(int) - background).sum(axis=2) > 15
    rows, columns = np.nonzero(differs)
    return np.array([columns.mean() / image.shape[1], rows.mean() / image.shape[0]])


@pytest.mark.parametrize("name", MOTIONS[1:5])
def test_foreground_moves_in_the_direction_of_its_label(name: str) -> None:
    clip = drawn(name, 3)
    background = np.median(clip.frames.reshape(-1, 3), axis=0)
    first, last = (foreground_center(frame, background) for frame in clip.frames[[0, -1]])
    expected = (clip.parts[-1, :, :2] - clip.parts[0, :, :2]).mean(axis=0)
    # It may be cut off by the frame's edge, which shifts the visible center.
    assert last - first == pytest.approx(expected, abs=0.1)
    assert np.abs(expected).max() > 0.1


def test_rotation_is_clockwise_on_the_screen() -> None:
    clip = drawn("rotate clockwise", 11)
    thing = clip.parts[:, 0]
    assert (np.diff(thing[:, 5]) > 0).all()
    # Rotate the first frame about the thing by the known angle: clockwise must fit better.
    angle, center = float(thing[3, 5] - thing[0, 5]), tuple((thing[0, :2] * 96).tolist())

    def misfit(degrees: float) -> float:
        # OpenCV's positive angles are counter-clockwise.
        turn = cv2.getRotationMatrix2D(center, degrees, 1.0)
        guess = cv2.warpAffine(clip.frames[0], turn, (96, 96), borderMode=cv2.BORDER_REPLICATE)
        return float(np.abs(guess.astype(int) - clip.frames[3]).mean())

    assert misfit(-angle) < 0.7 * misfit(angle)


@pytest.mark.parametrize("seed", SEEDS)
def test_fall_ends_lying_and_getting_up_ends_upright(seed: int) -> None:
    for name, sign in (("fall", 1), ("get up", -1)):
        boxes = drawn(name, seed).parts
        tops = (boxes[..., 1] - boxes[..., 3]).min(axis=1)
        width = np.ptp(boxes[..., 0], axis=1)
        assert sign * (tops[-1] - tops[0]) > 0.1
        assert sign * (width[-1] - width[0]) > 0


def test_still_clips_move_at_most_at_an_edge_of_the_window() -> None:
    moved = []
    for seed in range(40):
        steps = np.abs(np.diff(drawn(STILL, seed, 1.0).parts, axis=0)).max(axis=(1, 2))
        moved.append((steps > 1e-9).sum())
    assert moved.count(0) > 20
    assert max(moved) <= 4  # of 7 steps


def test_difficult_clips_have_bystanders_and_noise() -> None:
    def noise(difficulty: float) -> float:
        clips = [drawn(STILL, seed, difficulty) for seed in range(20)]
        return float(
            np.median([np.abs(np.diff(c.frames.astype(int), axis=0)).mean() for c in clips])
        )

    assert noise(0.0) == 0.0
    assert noise(1.0) > 0.5
    parts = {drawn("move left", seed, 1.0).parts.shape[1] for seed in range(20)}
    assert {1, 10} < parts


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("label", range(len(MOTIONS)))
def test_every_label_can_be_drawn(difficulty: float, label: int) -> None:
    for seed in range(10):
        clip = draw_clip(np.random.default_rng(seed), difficulty=difficulty, label=label)
        assert clip.frames.shape == (8, 96, 96, 3)
        assert clip.frames.dtype == np.uint8
        assert clip.label == label
        assert clip.parts.shape[::2] == (8, 6)
        assert np.isfinite(clip.parts).all()
        # Actors stay in the frame, except for limbs.
        middles = np.median(clip.parts[..., :2], axis=1)
        assert ((middles > -0.1) & (middles < 1.1)).all()


@pytest.mark.parametrize("seed", range(60))
def test_other_motions_have_no_main_direction(seed: int) -> None:
    clip = drawn(OTHER, seed)
    if clip.parts.shape[1] in (2, 20):  # two actors that pass each other: each has a direction
        return
    moved = np.median(clip.parts[..., [0, 1, 4]], axis=1)
    steps = np.diff(moved, axis=0)
    for column in steps.T:
        fractions = [(column > 0.008).mean(), (column < -0.008).mean()]
        assert max(fractions) < 0.86, column  # of 7 steps


def test_too_long_window_is_rejected() -> None:
    with pytest.raises(ValueError, match="up to 2 s, not 8"):
        draw_clip(np.random.default_rng(0), span_s=8.0)


def test_same_seed_draws_the_same_clip() -> None:
    one, other = (draw_clip(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.frames, other.frames)
    assert np.array_equal(one.parts, other.parts)
