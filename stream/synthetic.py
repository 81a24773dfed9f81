"""Drawn moving scenes with known truth: the demo camera and the training clips.

A scene is one object over a still background. Its pose is a function of time, so the
same code draws a training clip of 8 frames and a camera picture at any moment. What a pose is
says `drawing`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stream.drawing import DEMO_TEXTURES, Look

STILL = "still"
MOTIONS = (
    STILL,
    "move left",
    "move right",
    "move up",
    "move down",
    "approach",
    "recede",
    "rotate clockwise",
    "rotate counter-clockwise",
    "wave",
)
# The motion that a clip shows when it is played backwards.
BACKWARDS = {
    "move left": "move right",
    "move right": "move left",
    "move up": "move down",
    "move down": "move up",
    "approach": "recede",
    "recede": "approach",
    "rotate clockwise": "rotate counter-clockwise",
    "rotate counter-clockwise": "rotate clockwise",
}

_MARGIN = 0.14  # the object's centre stays this far inside the picture
_SIZES = (0.18, 0.6)
# Lowest and highest rate of a motion: picture shares per second, growth per second
# (natural logarithm), degrees per second, and for a wave swings per second.
_RATES = {
    "move": (0.12, 0.45),
    "grow": (0.28, 0.75),
    "rotate": (55.0, 170.0),
    "wave": (1.0, 1.8),
}
_WAVE_REACH = (0.06, 0.15)
_DIRECTIONS = {
    "move left": (-1, 0),
    "move right": (1, 0),
    "move up": (0, -1),
    "move down": (0, 1),
}


@dataclass(frozen=True, slots=True)
class Motion:
    """A motion and how strong it is. `rate` is in the unit that _RATES gives for its kind."""

    name: str
    rate: float = 0.0
    reach: float = 0.0  # of a wave: how far it swings to each side

    def poses(self, start: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        """Where `start`, (4,), is after each of `seconds`, (T,): poses (T, 4)."""
        poses = np.repeat(start[None], len(seconds), axis=0)
        if self.name in _DIRECTIONS:
            poses[:, :2] += np.outer(seconds * self.rate, _DIRECTIONS[self.name])
        elif self.name in ("approach", "recede"):
            sign = 1 if self.name == "approach" else -1
            poses[:, 2] *= np.exp(sign * self.rate * seconds)
        elif self.name.startswith("rotate"):
            sign = 1 if self.name == "rotate clockwise" else -1
            poses[:, 3] += sign * self.rate * seconds
        elif self.name == "wave":
            swing = np.sin(2 * math.pi * self.rate * seconds)
            poses[:, 0] += self.reach * swing
            poses[:, 3] += 120 * self.reach * swing  # a waving hand tilts as it swings
        return poses

    def seconds_that_fit(self, start: np.ndarray) -> float:
        """How long the motion can go on from `start` before it leaves the picture."""
        x, y, size, _ = start
        if self.name in _DIRECTIONS:
            across, down = _DIRECTIONS[self.name]
            place = x if across else y
            room = (1 - _MARGIN - place) if across + down > 0 else place - _MARGIN
            return max(0.0, float(room / self.rate))
        if self.name == "approach":
            return max(0.0, math.log(_SIZES[1] / size) / self.rate)
        if self.name == "recede":
            return max(0.0, math.log(size / _SIZES[0]) / self.rate)
        if self.name == "wave":
            fits = min(x, 1 - x) - self.reach >= _MARGIN / 2
            return math.inf if fits else 0.0
        return math.inf


def random_motion(rng: np.random.Generator, name: str, ease: float = 0.0) -> Motion:
    """A motion of that name with a random rate; `ease` from 0 to 1 keeps out the slowest."""
    if name == STILL:
        return Motion(STILL)
    kind = (
        "move"
        if name in _DIRECTIONS
        else "grow"
        if name in ("approach", "recede")
        else name.split()[0]
    )
    low, high = _RATES[kind]
    rate = rng.uniform(low + 0.4 * ease * (high - low), high)
    return Motion(name, float(rate), float(rng.uniform(*_WAVE_REACH)) if kind == "wave" else 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnClip:
    """A training clip and all that is known about it."""

    frames: np.ndarray  # uint8 RGB, (T, H, W, 3)
    label: int  # index into MOTIONS
    poses: np.ndarray  # float, (T, 4)
    shape: np.ndarray  # float, (2,): the object's width and height at size 1, shares of the picture


def draw_clip(
    rng: np.random.Generator,
    *,
    frames: int = 8,
    size: int = 64,
    span_s: float = 1.6,
    difficulty: float = 1.0,
    label: int | None = None,
) -> DrawnClip:
    """One motion seen through a window of `span_s` seconds, `size` x `size` pixels.

    A quarter of the clips at full difficulty hold the beginning or the end of a motion, as a
    window that slides over a camera does; the label is what fills at least 65 % of the clip.
    """
    label = int(rng.integers(len(MOTIONS))) if label is None else label
    times = np.arange(frames) * (span_s / frames)
    length = float(times[-1])
    name, active = MOTIONS[label], length
    partly = rng.random() < 0.25 * difficulty
    if partly and name == STILL:
        name, active = str(rng.choice(MOTIONS[1:])), length * rng.uniform(0.05, 0.35)
    elif partly:
        active = length * rng.uniform(0.65, 1.0)
    begins = rng.random() < 0.5  # the motion begins in this window; else it ends in it
    moving = np.clip(times - (length - active), 0, None) if begins else np.minimum(times, active)
    ease = 1 - difficulty
    motion = random_motion(rng, name, ease)
    # Easy objects are large, but one that grows or shrinks needs the whole range to do so.
    low_size = _SIZES[0] + (0.0 if name in ("approach", "recede") else 0.15 * ease)
    while True:
        start = np.array(
            [
                rng.uniform(_MARGIN, 1 - _MARGIN),
                rng.uniform(_MARGIN, 1 - _MARGIN),
                math.exp(rng.uniform(math.log(low_size), math.log(_SIZES[1]))),
                rng.uniform(0, 360),
            ]
        )
        if motion.seconds_that_fit(start) >= active:
            break
        motion = random_motion(rng, name, ease)
    if motion.name == "wave":  # it may have been waving before the window began
        moving = moving + (0 if begins else rng.uniform(0, 1 / motion.rate)) * (active == length)
    poses = motion.poses(start, moving)
    aspect = float(rng.choice((1.0, 4 / 3, 16 / 9)))
    look = Look(
        rng, size, size, difficulty=difficulty, aspect=aspect, largest=float(poses[:, 2].max())
    )
    pictures = np.stack([look.draw(pose, rng) for pose in poses])
    shape = np.array([min(1.0, 1 / aspect), min(1.0, aspect)])
    return DrawnClip(pictures, label, poses, shape)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a scene in which one motion goes on, in seconds since the scene began."""

    label: str
    start_s: float
    end_s: float


class Scene:
    """The demo camera: one object performs random motions, all about as often, with rests between.

    The same seed draws the same scene. Not safe for use by several threads.
    """

    def __init__(self, seed: int = 0, *, width: int = 640, height: int = 480) -> None:
        self._rng = np.random.default_rng((seed, 0xD3A0))
        self._seed = seed
        self._look = Look(
            self._rng, width, height, textures=DEMO_TEXTURES, difficulty=0.7, largest=_SIZES[1]
        )
        self._timeline = self._plan()
        self._steps: list[tuple[Segment, Motion, np.ndarray]] = []

    def picture(self, seconds: float) -> np.ndarray:
        """What the camera sees after that many seconds: RGB uint8, (H, W, 3)."""
        segment, motion, start = self._step_at(seconds)
        pose = motion.poses(start, np.array([seconds - segment.start_s]))[0]
        # Noise depends on the moment alone, so that a frame is the same whenever it is drawn.
        return self._look.draw(pose, np.random.default_rng((self._seed, int(seconds * 1000))))

    def truth(self, until_s: float) -> list[Segment]:
        """The motions, without the rests, that begin before `until_s`."""
        self._step_at(until_s)
        return [
            segment
            for segment, motion, _ in self._steps
            if motion.name != STILL and segment.start_s < until_s
        ]

    def _step_at(self, seconds: float) -> tuple[Segment, Motion, np.ndarray]:
        while not self._steps or self._steps[-1][0].end_s <= seconds:
            self._steps.append(next(self._timeline))
        for step in reversed(self._steps):
            if step[0].start_s <= seconds:
                return step
        return self._steps[0]

    def _plan(self) -> Iterator[tuple[Segment, Motion, np.ndarray]]:
        pose = np.array([0.5, 0.5, 0.28, self._rng.uniform(0, 360)])
        now = 0.0
        shown: Counter[str] = Counter()
        while True:
            rest = self._rng.uniform(1.5, 3.0)
            yield Segment(STILL, now, now + rest), Motion(STILL), pose
            now += rest
            motion, length = self._next_motion(pose, shown)
            shown[motion.name] += 1
            yield Segment(motion.name, now, now + length), motion, pose
            now += length
            pose = motion.poses(pose, np.array([length]))[0]

    def _next_motion(self, pose: np.ndarray, shown: Counter[str]) -> tuple[Motion, float]:
        """A random one of the motions least `shown` that fit, and how long it goes on.

        Turning always fits and moving often doesn't: left to chance alone, half of what a scene
        shows would be turning.
        """
        names = [str(name) for name in self._rng.permutation(MOTIONS[1:])]
        for name in sorted(names, key=lambda name: shown[name]):  # equals stay in random order
            for _ in range(5):
                motion = random_motion(self._rng, name, ease=0.3)
                length = min(float(self._rng.uniform(2.2, 4.0)), motion.seconds_that_fit(pose))
                if motion.name == "wave":  # whole swings, so that it ends where it began
                    length = math.ceil(length * motion.rate) / motion.rate
                if length >= 1.8:
                    return motion, length
        raise AssertionError("turning fits everywhere")
