"""The demo camera: a person or a thing that performs random motions, with known truth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

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
from stream.synthetic.stage import Actor, Stage

_OF_A_THING = [name for name in MOTIONS if name not in (STILL, OTHER, *OF_PEOPLE)]
# A person gets up after each fall, needs another one to struggle with, and does not fly.
_OF_A_PERSON = ["move left", "move right", "approach", "recede", "wave", "jump", "fall"]
_SHORTEST_S = 1.8


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a scene in which one motion goes on, in seconds since the scene began."""

    label: str
    start_s: float
    end_s: float


class _Play(Protocol):
    """Who acts in a scene, and what comes next."""

    actor: Actor

    def rest(self) -> Course:
        """How it stays as it is."""

    def next_motion(self, shown: Counter[str]) -> tuple[str, float, Course]:
        """A motion of those least `shown` that fit, how long it goes on, and its course."""


class Scene:
    """The demo camera: random motions of one actor, all about as often, with rests between.

    Scenes of an even `seed` show a person, the others a thing. The same seed and size draw
    the same scene.
    Not safe for use by several threads.
    """

    def __init__(self, seed: int = 0, *, width: int = 640, height: int = 480) -> None:
        rng = np.random.default_rng((seed, 0xD3A0))
        self._seed = seed
        # Without any noise a rest would look like a camera that froze.
        self._stage = Stage(
            rng, width, height, textures=DEMO_TEXTURES, difficulty=0.3, least_noise=1.0
        )
        self._play: _Play = (_ThingPlay if seed % 2 else _PersonPlay)(rng, self._stage)
        self._timeline = self._plan(rng)
        self._steps: list[tuple[Segment, Course]] = []

    def picture(self, seconds: float) -> np.ndarray:
        """What the camera sees after that many seconds: RGB uint8, (H, W, 3)."""
        state = self.state(seconds)
        # Noise depends on the moment alone, so that a frame is the same whenever it is drawn.
        rng = np.random.default_rng((self._seed, int(seconds * 1000)))
        return self._stage.draw([[(self._play.actor, state)]], seconds, rng)

    def state(self, seconds: float) -> np.ndarray:
        """The pose (4,) of the thing or the posture (15,) of the person after so many seconds."""
        segment, course = self._step_at(seconds)
        return course(np.array([seconds - segment.start_s]))[0]

    def truth(self, until_s: float) -> list[Segment]:
        """The motions, without the rests, that begin before `until_s`."""
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
    def __init__(self, rng: np.random.Generator, stage: Stage) -> None:
        self.actor: Actor = stage.thing(rng, largest=SIZES[1])
        self._rng = rng
        self._pose = np.array([0.5, 0.5, 0.28, rng.uniform(0, 360)])

    def rest(self) -> Course:
        return partial(Motion(STILL).poses, self._pose)

    def next_motion(self, shown: Counter[str]) -> tuple[str, float, Course]:
        """Turning always fits and moving often doesn't: by chance alone, half would be turning."""
        for name in _least_shown(self._rng, _OF_A_THING, shown):
            for _ in range(5):
                motion = random_motion(self._rng, name, ease=0.3)
                fits_s = motion.seconds_that_fit(self._pose)
                length = min(float(self._rng.uniform(2.2, 4.0)), fits_s)
                if motion.repeats:  # whole swings, so that it ends where it began
                    length = math.ceil(length * motion.rate) / motion.rate
                if length >= _SHORTEST_S:
                    course = partial(motion.poses, self._pose)
                    self._pose = course(np.array([length]))[0]
                    return name, length, course
        raise AssertionError("turning fits everywhere")


class _PersonPlay:
    def __init__(self, rng: np.random.Generator, stage: Stage) -> None:
        self.actor: Actor = stage.person(rng)
        self._rng = rng
        self._start = np.array([0.5, 0.88, 0.55])
        self._fallen: Act | None = None

    def rest(self) -> Course:
        act = self._fallen or Act(STILL, "stand")
        ended = postures(act, self._start, np.full(1, act.lasts_s))
        return lambda seconds: ended.repeat(len(seconds), axis=0)

    def next_motion(self, shown: Counter[str]) -> tuple[str, float, Course]:
        if self._fallen is not None:  # gets up as it lies
            act = replace(self._fallen, label="get up")
            self._fallen = None
            return act.label, act.lasts_s, partial(postures, act, self._start)
        for name in _least_shown(self._rng, _OF_A_PERSON, shown):
            for _ in range(5):
                act = random_act(self._rng, name)
                length = float(self._rng.uniform(2.2, 4.0))
                if act.label == "fall":
                    self._fallen, length = act, act.lasts_s
                elif act.repeats:  # whole swings, so that it ends as it began
                    length = math.ceil(length * act.rate) / act.rate
                while not self._stays(act, length) and length >= _SHORTEST_S:
                    length -= 0.1
                if act.label == "fall" or length >= _SHORTEST_S:
                    course = partial(postures, act, self._start)
                    if not act.repeats and act.label != "fall":
                        self._start = course(np.array([length]))[0, :3]
                    return name, length, course
        raise AssertionError("waving fits everywhere")

    def _stays(self, act: Act, length: float) -> bool:
        """Whether the person is still in the picture after that."""
        x, feet, tall = postures(act, self._start, np.array([length]))[0, :3]
        return bool(0.2 <= x <= 0.8 and 0.7 <= feet <= 1.1 and 0.3 <= tall <= 1.0)


def _least_shown(rng: np.random.Generator, names: Sequence[str], shown: Counter[str]) -> list[str]:
    drawn = [str(name) for name in rng.permutation(names)]
    return sorted(drawn, key=lambda name: shown[name])  # equals stay in random order
