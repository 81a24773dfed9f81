"""A stage: a background, and a camera with its faults that looks at what plays before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from stream.synthetic.backgrounds import TRAINING_TEXTURES, background, colour_away_from
from stream.synthetic.canvas import Canvas
from stream.synthetic.people import Person
from stream.synthetic.things import Thing

_CONTRAST = 150.0  # of easy scenes: how far colours are from the background's (Euclidean, RGB)
_FAULTS = ("noise", "blur", "dark", "compression", "unsteady")


class Actor(Protocol):
    """What can be painted in a state: a thing in a pose, a person in a posture."""

    def paint(self, canvas: Canvas, state: np.ndarray, /) -> None: ...


class Stage:
    """What a scene looks like but for its actors.

    Drawn from `rng` for pictures of `width` x `height` pixels. `difficulty` from 0 to 1 widens
    every range: textures, clutter, weaker contrast, what stands in the way, noise, shake, changing
    light, blur, compression. `aspect` is the shape of the scene, width over height: where it
    differs from the picture's own the scene is squashed into it, as a model that takes square
    pictures sees a camera. The noise has a standard deviation of `least_noise` or more, in levels.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        width: int,
        height: int,
        *,
        textures: tuple[str, ...] = TRAINING_TEXTURES,
        difficulty: float = 1.0,
        aspect: float | None = None,
        least_noise: float = 0.0,
    ) -> None:
        self.width, self.height = width, height
        aspect = aspect or width / height
        self.unit = np.array([min(1.0, 1 / aspect), min(1.0, aspect)])
        self._pad = max(2, width // 20)
        texture = str(rng.choice(textures)) if rng.random() < 0.2 + difficulty else "plain"
        full = (width + 2 * self._pad, height + 2 * self._pad)
        self._background = background(rng, texture, full, difficulty)
        self._contrasts = (_CONTRAST - 95 * difficulty, _CONTRAST)
        self._in_the_way = _in_the_way(rng) if rng.random() < 0.15 * difficulty else None
        # A bad camera has two grave faults, for with all of them nobody could see anything.
        grave = {str(fault) for fault in rng.choice(_FAULTS, 2, replace=False)}
        grave = {fault for fault in sorted(grave) if rng.random() < 0.8 * difficulty}
        # A bank of noise, because drawing it afresh costs more than the rest.
        level = rng.uniform(4, 14) if "noise" in grave else 4.0 * difficulty * rng.random()
        self._noise = _noise_bank(rng, full, max(level, least_noise))
        self._blur = 0.016 * width * rng.random() if "blur" in grave else 0.0
        self._gain = rng.uniform(0.3, 0.8) if "dark" in grave else 1.0
        self._quality = int(rng.integers(15, 70)) if "compression" in grave else None
        unsteady = rng.random(2) * ("unsteady" in grave)
        self._sway, self._light = 0.015 * width * unsteady[0], 0.25 * unsteady[1]
        self._periods = rng.uniform(1.5, 6.0, 3)  # of sway, to the side and up, and of light
        self._shake = 0.006 * width * difficulty * rng.random() ** 2
        self._flicker = 0.06 * difficulty * rng.random() ** 2

    def thing(self, rng: np.random.Generator, *, largest: float) -> Thing:
        """A thing that stands out from the background, drawn up to that size."""
        colour = colour_away_from(rng, self._background, self._any_contrast(rng))
        pixels = 1.25 * largest * max(self.unit * (self.width, self.height))
        return Thing(rng, colour, int(pixels))

    def person(self, rng: np.random.Generator) -> Person:
        """A person whose clothes stand out from the background."""
        return Person(rng, self._background, self._any_contrast(rng))

    def draw(
        self,
        moments: Sequence[Sequence[tuple[Actor, np.ndarray]]],
        seconds: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """The picture of actors and their states: RGB uint8, (height, width, 3).

        Several `moments` belong to one long exposure: what moves between them is smeared. `rng`
        draws what differs between two pictures at the same second: noise, shake, flicker.
        """
        shift_x, shift_y = rng.normal(0, self._shake, 2) if self._shake > 0.1 else (0.0, 0.0)
        turns = 2 * math.pi * seconds / self._periods
        shift_x += self._sway * math.sin(turns[0])
        shift_y += 0.6 * self._sway * math.sin(turns[1])
        empty = self._shifted_background(float(shift_x), float(shift_y))
        exposed = []
        for moment in moments:
            canvas = Canvas(empty.copy(), self.unit, float(shift_x), float(shift_y))
            for actor, state in moment:
                actor.paint(canvas, state)
            exposed.append(canvas.frame)
        frame = exposed[0] if len(exposed) == 1 else np.mean(exposed, axis=0).astype(np.uint8)
        if self._in_the_way is not None:
            corners, colour = self._in_the_way
            points = (corners * (self.width, self.height) + (shift_x, shift_y)).astype(np.int32)
            cv2.fillPoly(frame, [points], colour, cv2.LINE_AA)
        return self._developed(frame, turns[2], rng)

    def _any_contrast(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(*self._contrasts))

    def _developed(self, frame: np.ndarray, light: float, rng: np.random.Generator) -> np.ndarray:
        """The picture with the faults of lens, light, sensor and compression."""
        if self._blur > 0.3:
            frame = cv2.GaussianBlur(frame, (0, 0), self._blur)
        gain = self._gain * (1 + self._light * math.sin(light))
        gain += float(rng.normal(0, self._flicker)) if self._flicker > 0.005 else 0.0
        if gain != 1:
            frame = cv2.convertScaleAbs(frame, alpha=gain)
        if self._noise is not None:
            top, left = rng.integers(0, 2 * self._pad, 2)
            patch = self._noise[top : top + self.height, left : left + self.width]
            frame = cv2.add(frame, patch, dtype=cv2.CV_8U)
        if self._quality is not None:
            frame = compressed(frame, self._quality)
        return frame

    def _shifted_background(self, shift_x: float, shift_y: float) -> np.ndarray:
        pad = self._pad
        if shift_x == 0 and shift_y == 0:
            return self._background[pad : pad + self.height, pad : pad + self.width]
        move = np.array([[1, 0, shift_x - pad], [0, 1, shift_y - pad]])
        return cv2.warpAffine(
            self._background, move, (self.width, self.height), borderMode=cv2.BORDER_REPLICATE
        )


def compressed(frame: np.ndarray, quality: int) -> np.ndarray:
    """A picture, uint8 RGB (H, W, 3), as JPEG of that quality leaves it."""
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _in_the_way(rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, ...]]:
    """A post or a board before the actors: its corners, shares of the picture, and its colour."""
    colour = tuple(float(value) for value in rng.uniform(0, 255, 3))
    left, wide = rng.uniform(0, 0.9), rng.uniform(0.04, 0.12)
    if rng.random() < 0.6:  # a post
        tilt = rng.uniform(-0.1, 0.1)
        corners = [(left, 0.0), (left + wide, 0.0), (left + wide + tilt, 1.0), (left + tilt, 1.0)]
    else:
        low = rng.uniform(0.7, 0.9)
        corners = [
            (left - 0.2, low),
            (left + 3 * wide, low),
            (left + 3 * wide, 1.0),
            (left - 0.2, 1.0),
        ]
    return np.array(corners), colour


def _noise_bank(rng: np.random.Generator, size: tuple[int, int], level: float) -> np.ndarray | None:
    if level < 0.5:
        return None
    noise = rng.standard_normal((size[1], size[0], 3), dtype=np.float32)
    return (noise * level).astype(np.int16)
