"""The synthetic motions: their names, and the pose of a thing as a function of time.

A pose is a row (x, y, size, angle): the center as fractions of the frame's width and height, the
diameter as a fraction of its shorter side, and degrees, clockwise on the screen.
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
# Motions with another label when the clip is reversed in time.
REVERSED = {
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
# Motions of things only, and of people only.
OF_THINGS = ("rotate clockwise", "rotate counter-clockwise")
OF_PEOPLE = ("fall", "get up", "struggle")
ACTIONS = ("wave", "jump", *OF_PEOPLE)  # actions, as opposed to presence and locomotion

Course = Callable[[np.ndarray], np.ndarray]  # seconds (T,) -> states of an actor (T, S)

DIRECTIONS = {
    "move left": (-1, 0),
    "move right": (1, 0),
    "move up": (0, -1),
    "move down": (0, 1),
}
MARGIN = 0.14  # the center of a thing with a directed motion stays this far inside the frame
SIZES = (0.22, 0.6)

# Minimal and maximal rate of a motion: frame fractions per second, growth per second
# (natural logarithm), degrees per second, and cycles per second for repeating motions.
_RATES = {
    "move": (0.12, 0.45),
    "grow": (0.28, 0.75),
    "rotate": (55.0, 170.0),
    "wave": (1.0, 1.8),
    "jump": (0.9, 1.8),
    "other": (0.7, 1.0),
}
# Amplitude of repeating motions: to each side, or up.
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
    """A motion with its parameters. `rate` is in the unit that _RATES has for its kind."""

    name: str
    rate: float = 0.0
    reach: float = 0.0  # amplitude of a repeating motion: to each side, or up
    path: str = ""  # of other motion, one of _PATHS; some have a mirror image, for reach < 0

    def poses(self, start: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        """Poses (T, 4) of a thing with the pose `start`, (4,), at each of `seconds`, (T,)."""
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
            path = np.abs(2.5 * self.reach * self.rate * seconds)
            first = 1.25 * abs(self.reach)
            poses[:, 0] += math.copysign(1, self.reach) * np.minimum(path, first)
            poses[:, 1] += (1 if self.path == "corner down" else -1) * np.maximum(path - first, 0)
        elif self.path == "swell":
            poses[:, 2] *= np.exp(2.5 * self.reach * np.sin(turns))
        elif self.path == "rock":
            poses[:, 3] += 350 * self.reach * np.sin(turns)
        return poses

    @property
    def repeats(self) -> bool:
        """Whether it is periodic, so that it can have started at any time."""
        return self.name in ("wave", "jump") or self.path in ("circle", "swell", "rock")

    def seconds_that_fit(self, start: np.ndarray) -> float:
        """Seconds until the motion from `start` leaves the frame."""
        x, y, size, _ = start
        if self.name in DIRECTIONS:
            across, down = DIRECTIONS[self.name]
            position = x if across else y
            distance = (1 - MARGIN - position) if across + down > 0 else position - MARGIN
            return max(0.0, float(distance / self.rate))
        if self.name == "approach":
            return max(0.0, math.log(SIZES[1] / size) / self.rate)
        if self.name == "recede":
            return max(0.0, math.log(size / SIZES[0]) / self.rate)
        if self.name == "wave":
            fits = min(x, 1 - x) - self.reach >= MARGIN / 2
        elif self.name == "jump":
            fits = y - self.reach >= MARGIN / 2
        elif self.name == OTHER:
            distance = min(x, 1 - x, y, 1 - y) - 2.3 * abs(self.reach)
            fits = distance >= MARGIN / 2 or self.path in ("swell", "rock")
        else:
            fits = True
        return math.inf if fits else 0.0


def random_rate(rng: np.random.Generator, name: str, ease: float = 0.0) -> float:
    """A rate of the motion of that name; `ease` from 0 to 1 excludes the slowest."""
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
