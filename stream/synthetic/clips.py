"""Synthetic training clips: one motion in a sliding window, with its ground truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from stream.synthetic import people
from stream.synthetic.motions import (
    MARGIN,
    MOTIONS,
    OF_PEOPLE,
    OF_THINGS,
    OTHER,
    SIZES,
    STILL,
    Course,
    Motion,
    random_motion,
)
from stream.synthetic.stage import Actor, Stage

_PEOPLE = 0.5  # fraction of clips with a person, for motions that a thing can do too
_TALL = (0.35, 0.95)  # heights of people, as fractions of the scene's shorter side
MAX_SPAN_S = 2.0  # in a longer window few motions stay within the frame
_BRIEF = ("fall", "get up")  # shorter than a window


@dataclass(frozen=True, slots=True, eq=False)
class DrawnClip:
    """A training clip and its ground truth."""

    frames: np.ndarray  # uint8 RGB, (T, H, W, 3)
    label: int  # index into MOTIONS
    # The parts of all actors in drawing order, (T, P, 6): center x and y and half extents
    # (fractions of the frame), natural logarithm of the size, angle in degrees.
    parts: np.ndarray
    unit: np.ndarray  # (2,): the scene's shorter side as fractions of the frame's width and height


@dataclass(frozen=True, slots=True, eq=False)
class _Role:
    actor: Actor
    course: Course
    parts: Callable[[np.ndarray], np.ndarray]  # states (T, S) -> parts (T, P, 6)


@dataclass(frozen=True, slots=True)
class _Timing:
    """When a motion is active within a clip, in seconds."""

    before: float  # until it starts
    active: float  # its duration within the clip
    ahead: float  # how long it has been running before that, if it repeats

    def course(self, actor: Motion | people.Act, course: Course) -> Course:
        """A course that starts at 0 s, mapped to clip time."""
        ahead = self.ahead if actor.repeats else 0.0
        return lambda times: course(np.clip(times - self.before, 0, self.active) + ahead)


_NEVER = _Timing(0.0, 0.0, 0.0)


def draw_clip(
    rng: np.random.Generator,
    *,
    frames: int = 8,
    size: int = 96,
    span_s: float = 1.6,
    difficulty: float = 1.0,
    label: int | None = None,
    fps: float | None = None,
) -> DrawnClip:
    """One motion seen through a window of `span_s` seconds, `size` x `size` pixels.

    A quarter of the clips at full difficulty contain the start or end of a motion, as sliding
    windows do; the labeled motion covers at least 65 % of the clip, and most of a fall or of
    getting up is visible. Without `fps` the frame rate is random.
    Raises ValueError for a window longer than 2 s.
    """
    if span_s > MAX_SPAN_S:
        raise ValueError(f"motions are drawn for up to {MAX_SPAN_S:g} s, not {span_s:g}")
    label = int(rng.integers(len(MOTIONS))) if label is None else label
    times = _frame_times(rng, frames, span_s, difficulty, fps)
    aspect = float(rng.choice((1.0, 4 / 3, 16 / 9)))
    stage = Stage(rng, size, size, difficulty=difficulty, aspect=aspect)
    roles = _bystanders(rng, stage, difficulty) if rng.random() < 0.35 * difficulty else []
    roles += _performance(rng, stage, MOTIONS[label], span_s * (1 - 1 / frames), difficulty)
    exposure_s = rng.uniform(0.02, 0.1) if rng.random() < 0.3 * difficulty else 0.0
    moments = [0.0, -0.5, -1.0] if exposure_s else [0.0]
    states = [[role.course(times + exposure_s * at) for role in roles] for at in moments]
    images = [
        stage.draw(
            [
                [(role.actor, state[row]) for role, state in zip(roles, shot, strict=True)]
                for shot in states
            ],
            float(seconds),
            rng,
        )
        for row, seconds in enumerate(times)
    ]
    parts = np.concatenate(
        [role.parts(state) for role, state in zip(roles, states[0], strict=True)], axis=1
    )
    return DrawnClip(np.stack(images), label, parts, stage.unit)


def _frame_times(
    rng: np.random.Generator, frames: int, span_s: float, difficulty: float, fps: float | None
) -> np.ndarray:
    """Timestamps of the frames, (T,), as uniform as a camera with `fps` (or a random rate) allows.

    The frame nearest to a uniform timestamp is off by up to half a frame interval.
    """
    step_s = span_s / frames
    times = np.arange(frames) * step_s
    drawn, off = float(rng.choice((10, 10, 15, 25))), rng.uniform(-0.5, 0.5, frames)
    if fps is None and rng.random() >= 0.5 * difficulty:
        return times
    return np.maximum(times + off * min(1 / (fps or drawn), step_s), 0.0)


def _performance(
    rng: np.random.Generator, stage: Stage, name: str, length: float, difficulty: float
) -> list[_Role]:
    """The actors of the motion, most often one, and their timing."""
    ease = 1 - difficulty
    shown, active = name, length
    partly = rng.random() < 0.25 * difficulty and name not in _BRIEF
    if partly and name == STILL:
        others = [other for other in MOTIONS[1:] if other not in _BRIEF]
        shown, active = str(rng.choice(others)), length * rng.uniform(0.05, 0.35)
    elif partly:
        active = length * rng.uniform(0.65, 1.0)
    starts = rng.random() < 0.5  # the motion starts in this window; else it ends in it
    # A repeating motion may have started before the window.
    ahead = 0.0 if partly and starts else rng.uniform(0, 2)
    timing = _Timing(length - active if starts else 0.0, active, ahead)
    if shown == "struggle":
        return _struggle(rng, stage, timing)
    if shown == OTHER and rng.random() < 0.2:
        return _passing_actors(rng, stage, timing, ease)
    person = shown in OF_PEOPLE or (
        shown not in (*OF_THINGS, "move up", "move down") and rng.random() < _PEOPLE
    )
    if not person:
        return [_thing(rng, stage, shown, timing, ease)]
    if shown in _BRIEF:
        return [_brief(rng, stage, shown, length, ease)]
    return [_person(rng, stage, shown, timing, ease)]


def _thing(
    rng: np.random.Generator, stage: Stage, name: str, timing: _Timing, ease: float
) -> _Role:
    # Easy things are large, but one that grows or shrinks needs the whole range of sizes.
    low_size = SIZES[0] + (0.0 if name in ("approach", "recede") else 0.15 * ease)
    while True:
        motion = random_motion(rng, name, ease)
        x, y = rng.uniform(MARGIN, 1 - MARGIN, 2)
        size = math.exp(rng.uniform(math.log(low_size), math.log(SIZES[1])))
        start = np.array([x, y, size, rng.uniform(0, 360)])
        if motion.seconds_that_fit(start) >= timing.active:
            break
    course, unit = timing.course(motion, partial(motion.poses, start)), stage.unit

    def parts(poses: np.ndarray) -> np.ndarray:
        reach = poses[:, 2:3] * unit / 2
        row = np.column_stack([poses[:, :2], reach, np.log(poses[:, 2]), poses[:, 3]])
        return row[:, None]

    max_size = float(course(np.linspace(0, MAX_SPAN_S, 9))[:, 2].max())
    return _Role(stage.thing(rng, max_size=max_size), course, parts)


def _person(
    rng: np.random.Generator, stage: Stage, name: str, timing: _Timing, ease: float
) -> _Role:
    while True:
        act = people.random_act(rng, name, ease)
        start = _random_position(
            rng, stage, ease, max_height=0.7 if name == "approach" else _TALL[1]
        )
        course = timing.course(act, partial(people.postures, act, start))
        x, feet, tall = course(np.linspace(0, MAX_SPAN_S, 9))[:, :3].T
        inside = (x > MARGIN / 2) & (x < 1 - MARGIN / 2) & (feet <= 1.15)
        if inside.all() and _TALL[0] / 1.5 < tall.min() and tall.max() < 1.3 * _TALL[1]:
            return _person_role(rng, stage, course)


def _person_role(rng: np.random.Generator, stage: Stage, course: Course) -> _Role:
    return _Role(stage.person(rng), course, lambda rows: people.parts(rows, stage.unit))


def _random_position(
    rng: np.random.Generator, stage: Stage, ease: float, max_height: float = _TALL[1]
) -> np.ndarray:
    """A random position and height of a person: (x, y of the feet, height)."""
    tall = math.exp(rng.uniform(math.log(_TALL[0] + 0.2 * ease), math.log(max_height)))
    head = float(0.95 * tall * stage.unit[1])
    return np.array([rng.uniform(0.12, 0.88), rng.uniform(min(head, 0.95), 1.0), tall])


def _brief(rng: np.random.Generator, stage: Stage, name: str, length: float, ease: float) -> _Role:
    """A fall or getting up; the window contains at least three quarters of it."""
    act = people.random_act(rng, name, ease)
    early, late = (0.25, 0.15) if name == "fall" else (0.15, 0.25)
    start_s = rng.uniform(-early * act.duration_s, max(0.0, length - (1 - late) * act.duration_s))
    start = _random_position(rng, stage, ease)
    start[0] = np.clip(start[0], 0.25, 0.75)  # leaves space to lie
    return _person_role(rng, stage, lambda times: people.postures(act, start, times - start_s))


def _struggle(rng: np.random.Generator, stage: Stage, timing: _Timing) -> list[_Role]:
    """Two people close to each other."""
    one = _random_position(rng, stage, 0.0)
    apart = rng.uniform(0.15, 0.4) * one[2] * stage.unit[0]
    one[0] = rng.uniform(0.15, 0.85 - min(0.5, apart))
    other = one + np.array([apart, rng.uniform(-0.03, 0.03), 0.0])
    other[2] *= rng.uniform(0.9, 1.1)
    roles = []
    for start, side in ((one, 1), (other, -1)):
        act = replace(people.random_act(rng, "struggle"), side=side)
        course = timing.course(act, partial(people.postures, act, start))
        roles.append(_person_role(rng, stage, course))
    return roles


def _passing_actors(
    rng: np.random.Generator, stage: Stage, timing: _Timing, ease: float
) -> list[_Role]:
    """Two actors that move in opposite directions: the label is neither direction."""
    if rng.random() < 0.25:
        return [_thing(rng, stage, name, timing, ease) for name in ("move up", "move down")]
    make_role = _person if rng.random() < _PEOPLE else _thing
    return [make_role(rng, stage, name, timing, ease) for name in ("move left", "move right")]


def _bystanders(rng: np.random.Generator, stage: Stage, difficulty: float) -> list[_Role]:
    """One or two actors without motion."""
    return [
        _person(rng, stage, STILL, _NEVER, 1 - difficulty)
        if rng.random() < _PEOPLE
        else _thing(rng, stage, STILL, _NEVER, 0.0)
        for _ in range(int(rng.integers(1, 3)))
    ]
