"""The drawn motions: their names, and where a thing is as time goes on.

A pose is a row (x, y, size, angle): the centre as a share of the picture's width and height, the
diameter as a share of its shorter side, and degrees, clockwise on the screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STILL = "still"
OTHER = "other motion"
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
    "jump",
    "fall",
    "get up",
    "struggle",
    OTHER,
)
# The motion that a clip shows when it is played backwards, where it is not the same.
BACKWARDS = {
    "move left": "move right",
    "move right": "move left",
    "move up": "move down",
    "move down": "move up",
    "approach": "recede",
    "recede": "approach",
    "rotate clockwise": "rotate counter-clockwise",
    "rotate counter-clockwise": "rotate clockwise",
    "fall": "get up",
    "get up": "fall",
}
# What only a thing can do, and what only a person can.
OF_THINGS = ("rotate clockwise", "rotate counter-clockwise")
OF_PEOPLE = ("fall", "get up", "struggle")
ACTIONS = ("wave", "jump", *OF_PEOPLE)  # what somebody does, other than being there or going by

Course = Callable[[np.ndarray], np.ndarray]  # seconds (T,) -> states of an actor (T, S)

DIRECTIONS = {
    "move left": (-1, 0),
    "move right": (1, 0),
    "move up": (0, -1),
    "move down": (0, 1),
}
MARGIN = 0.14  # the centre of a thing that moves by its name stays this far inside the picture
SIZES = (0.22, 0.6)

# Lowest and highest rate of a motion: picture shares per second, growth per second
# (natural logarithm), degrees per second, and for what repeats, times a second.
_RATES = {
    "move": (0.12, 0.45),
    "grow": (0.28, 0.75),
    "rotate": (55.0, 170.0),
    "wave": (1.0, 1.8),
    "jump": (0.9, 1.8),
    "other": (0.7, 1.0),
}
# How far what repeats goes: to each side, or up.
_REACHES = {"wave": (0.06, 0.15), "jump": (0.08, 0.25), "other": (0.06, 0.16)}
_PATHS = ("circle", "corner up", "corner down", "swell", "rock")
_KINDS = {
    **dict.fromkeys(DIRECTIONS, "move"),
    **dict.fromkeys(("approach", "recede"), "grow"),
    **dict.fromkeys(OF_THINGS, "rotate"),
    "wave": "wave",
    "jump": "jump",
    OTHER: "other",
}


@dataclass(frozen=True, slots=True)
class Motion:
    """A motion and how strong it is. `rate` is in the unit that _RATES gives for its kind."""

    name: str
    rate: float = 0.0
    reach: float = 0.0  # of what repeats: how far it goes to each side, or up
    path: str = ""  # of other motion, one of _PATHS; some have a mirror image, for reach < 0

    def poses(self, start: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        """Where a thing at `start`, (4,), is after each of `seconds`, (T,): poses (T, 4)."""
        poses = np.repeat(start[None], len(seconds), axis=0)
        turns = 2 * math.pi * self.rate * seconds
        if self.name in DIRECTIONS:
            poses[:, :2] += np.outer(seconds * self.rate, DIRECTIONS[self.name])
        elif self.name in ("approach", "recede"):
            sign = 1 if self.name == "approach" else -1
            poses[:, 2] *= np.exp(sign * self.rate * seconds)
        elif self.name in OF_THINGS:
            sign = 1 if self.name == "rotate clockwise" else -1
            poses[:, 3] += sign * self.rate * seconds
        elif self.name == "wave":
            poses[:, 0] += self.reach * np.sin(turns)
            poses[:, 3] += 120 * self.reach * np.sin(turns)  # a waving hand tilts as it swings
        elif self.name == "jump":
            poses[:, 1] -= self.reach * np.abs(np.sin(turns / 2))
        elif self.path == "circle":
            poses[:, 0] += self.reach * np.sin(turns)
            poses[:, 1] += self.reach * (1 - np.cos(turns))
        elif self.path.startswith("corner"):  # to one side, after half a second or more up or down
            gone = np.abs(2.5 * self.reach * self.rate * seconds)
            first = 1.25 * abs(self.reach)
            poses[:, 0] += math.copysign(1, self.reach) * np.minimum(gone, first)
            poses[:, 1] += (1 if self.path == "corner down" else -1) * np.maximum(gone - first, 0)
        elif self.path == "swell":
            poses[:, 2] *= np.exp(2.5 * self.reach * np.sin(turns))
        elif self.path == "rock":
            poses[:, 3] += 350 * self.reach * np.sin(turns)
        return poses

    @property
    def repeats(self) -> bool:
        """Whether it may have been going on for any time."""
        return self.name in ("wave", "jump") or self.path in ("circle", "swell", "rock")

    def seconds_that_fit(self, start: np.ndarray) -> float:
        """How long the motion can go on from `start` before it leaves the picture."""
        x, y, size, _ = start
        if self.name in DIRECTIONS:
            across, down = DIRECTIONS[self.name]
            place = x if across else y
            room = (1 - MARGIN - place) if across + down > 0 else place - MARGIN
            return max(0.0, float(room / self.rate))
        if self.name == "approach":
            return max(0.0, math.log(SIZES[1] / size) / self.rate)
        if self.name == "recede":
            return max(0.0, math.log(size / SIZES[0]) / self.rate)
        if self.name == "wave":
            fits = min(x, 1 - x) - self.reach >= MARGIN / 2
        elif self.name == "jump":
            fits = y - self.reach >= MARGIN / 2
        elif self.name == OTHER:
            room = min(x, 1 - x, y, 1 - y) - 2.3 * abs(self.reach)
            fits = room >= MARGIN / 2 or self.path in ("swell", "rock")
        else:
            fits = True
        return math.inf if fits else 0.0


def random_rate(rng: np.random.Generator, name: str, ease: float = 0.0) -> float:
    """A rate of the motion of that name; `ease` from 0 to 1 keeps out the slowest."""
    if name not in _KINDS:
        return 0.0
    low, high = _RATES[_KINDS[name]]
    return float(rng.uniform(low + 0.4 * ease * (high - low), high))


def random_motion(rng: np.random.Generator, name: str, ease: float = 0.0) -> Motion:
    """A thing's motion of that name, at a `random_rate`."""
    rate, kind = random_rate(rng, name, ease), _KINDS.get(name, "")
    reach = float(rng.uniform(*_REACHES[kind])) if kind in _REACHES else 0.0
    if name != OTHER:
        return Motion(name, rate, reach)
    return Motion(name, rate, reach * float(rng.choice((-1, 1))), str(rng.choice(_PATHS)))
