"""The demo camera: a person or a thing with random motions and ground truth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from stream.synthetic.backgrounds import DEMO_TEXTURES
from stream.synthetic.motions import (
    MOTIONS,
    OF_PEOPLE,
    OTHER,
    SIZES,
    STILL,
    Course,
    Motion,
    random_motion,
)
from stream.synthetic.people import Act, postures, random_act
from stream.synthetic.stage import Stage

_THING_MOTIONS = [name for name in MOTIONS if name not in (STILL, OTHER, *OF_PEOPLE)]
# A person gets up after each fall, needs an opponent to struggle, and can't move up or down.
_PERSON_MOTIONS = ["move left", "move right", "approach", "recede", "wave", "jump", "fall"]
_MIN_MOTION_S = 1.8


@dataclass(frozen=True, slots=True)
class Segment:
    """The time range of one motion, in seconds since the start of the scene."""

    label: str
    start_s: float
    end_s: float


class Scene:
    """The demo camera: random motions of one actor, about equally frequent, with rests between.

    An even `seed` gives a person, an odd one a thing. The same seed and size render the same
    scene. Not thread-safe.
    """

    def __init__(self, seed: int = 0, *, width: int = 640, height: int = 480) -> None:
        rng = np.random.default_rng((seed, 0xD3A0))
        self._seed = seed
        # Without noise a rest would look like a frozen camera.
        self._stage = Stage(
            rng, width, height, textures=DEMO_TEXTURES, difficulty=0.3, min_noise=1.0
        )
        self._play = (_ThingPlay if seed % 2 else _PersonPlay)(rng, self._stage)
        self._timeline = self._plan(rng)
        self._steps: list[tuple[Segment, Course]] = []

    def render(self, seconds: float) -> np.ndarray:
        """The camera frame at a time: RGB uint8, (H, W, 3)."""
        state = self.state(seconds)
        # Noise depends on the time alone, so that rendering a frame again gives the same pixels.
        rng = np.random.default_rng((self._seed, int(seconds * 1000)))
        return self._stage.draw([[(self._play.actor, state)]], seconds, rng)

    def state(self, seconds: float) -> np.ndarray:
        """The pose (4,) of the thing or the posture (15,) of the person at a time."""
        segment, course = self._step_at(seconds)
        return course(np.array([seconds - segment.start_s]))[0]

    def ground_truth(self, until_s: float) -> list[Segment]:
        """The motions, without the rests, that start before `until_s`."""
        self._step_at(until_s)
        return [
            segment
            for segment, _ in self._steps
            if segment.label != STILL and segment.start_s < until_s
        ]

    def _step_at(self, seconds: float) -> tuple[Segment, Course]:
        while not self._steps or self._steps[-1][0].end_s <= seconds:
            self._steps.append(next(self._timeline))
        for step in reversed(self._steps):
            if step[0].start_s <= seconds:
                return step
        return self._steps[0]

    def _plan(self, rng: np.random.Generator) -> Iterator[tuple[Segment, Course]]:
        now = 0.0
        shown: Counter[str] = Counter()
        while True:
            rest = rng.uniform(1.5, 3.0)
            yield Segment(STILL, now, now + rest), self._play.rest()
            now += rest
            name, length, course = self._play.next_motion(shown)
            shown[name] += 1
            yield Segment(name, now, now + length), course
            now += length


class _ThingPlay:
    """A thing and its sequence of motions."""

    def __init__(self, rng: np.random.Generator, stage: Stage) -> None:
        self.actor = stage.thing(rng, max_size=SIZES[1])
        self._rng = rng
        self._pose = np.array([0.5, 0.5, 0.28, rng.uniform(0, 360)])

    def rest(self) -> Course:
        return partial(Motion(STILL).poses, self._pose)

    def next_motion(self, shown: Counter[str]) -> tuple[str, float, Course]:
        """A rarely `shown` motion that fits into the frame, its duration and its course.

        Rotations always fit, translations often don't: balance them by frequency.
        """
        for name in _by_frequency(self._rng, _THING_MOTIONS, shown):
            for _ in range(5):
                motion = random_motion(self._rng, name, ease=0.3)
                fits_s = motion.seconds_that_fit(self._pose)
                length = min(float(self._rng.uniform(2.2, 4.0)), fits_s)
                if motion.repeats:  # whole cycles, so that it ends where it started
                    length = math.ceil(length * motion.rate) / motion.rate
                if length >= _MIN_MOTION_S:
                    course = partial(motion.poses, self._pose)
                    self._pose = course(np.array([length]))[0]
                    return name, length, course
        raise AssertionError("rotation fits everywhere")


class _PersonPlay:
    """A person and its sequence of motions."""

    def __init__(self, rng: np.random.Generator, stage: Stage) -> None:
        self.actor = stage.person(rng)
        self._rng = rng
        self._start = np.array([0.5, 0.88, 0.55])
        self._fallen: Act | None = None

    def rest(self) -> Course:
        act = self._fallen or Act(STILL, "stand")
        ended = postures(act, self._start, np.full(1, act.duration_s))
        return lambda seconds: ended.repeat(len(seconds), axis=0)

    def next_motion(self, shown: Counter[str]) -> tuple[str, float, Course]:
        if self._fallen is not None:  # gets up from where it lies
            act = replace(self._fallen, label="get up")
            self._fallen = None
            return act.label, act.duration_s, partial(postures, act, self._start)
        for name in _by_frequency(self._rng, _PERSON_MOTIONS, shown):
            for _ in range(5):
                act = random_act(self._rng, name)
                length = float(self._rng.uniform(2.2, 4.0))
                if act.label == "fall":
                    self._fallen, length = act, act.duration_s
                elif act.repeats:  # whole cycles, so that it ends as it started
                    length = math.ceil(length * act.rate) / act.rate
                while not self._stays_in_frame(act, length) and length >= _MIN_MOTION_S:
                    length -= 0.1
                if act.label == "fall" or length >= _MIN_MOTION_S:
                    course = partial(postures, act, self._start)
                    if not act.repeats and act.label != "fall":
                        self._start = course(np.array([length]))[0, :3]
                    return name, length, course
        raise AssertionError("waving fits everywhere")

    def _stays_in_frame(self, act: Act, length: float) -> bool:
        """Whether the person is still in the frame at the end."""
        x, feet, tall = postures(act, self._start, np.array([length]))[0, :3]
        return bool(0.2 <= x <= 0.8 and 0.7 <= feet <= 1.1 and 0.3 <= tall <= 1.0)


def _by_frequency(rng: np.random.Generator, names: Sequence[str], shown: Counter[str]) -> list[str]:
    drawn = [str(name) for name in rng.permutation(names)]
    return sorted(drawn, key=lambda name: shown[name])  # stable: ties stay in random order
