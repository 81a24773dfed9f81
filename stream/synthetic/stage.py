"""The stage: a background, and a camera model with image degradations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from stream.synthetic.backgrounds import TRAINING_TEXTURES, background, contrasting_color
from stream.synthetic.people import Person
from stream.synthetic.things import Canvas, Thing

_CONTRAST = 150.0  # of easy scenes: color distance to the background (Euclidean, RGB)
_DEGRADATIONS = ("noise", "blur", "dark", "compression", "unsteady")
Actor = Thing | Person  # drawn from its state: a pose or a posture


class Stage:
    """The appearance of a scene without its actors.

    Drawn from `rng` for frames of `width` x `height` pixels. `difficulty` from 0 to 1 widens
    every range: textures, clutter, weaker contrast, occlusion, noise, shake, changing light, blur,
    compression. `aspect` is the scene's width over height: if it differs from the frame's, the
    scene is squashed into the frame, as camera frames are for a model with square inputs. The
    noise has a standard deviation of at least `min_noise` gray levels.
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
        min_noise: float = 0.0,
    ) -> None:
        self.width, self.height = width, height
        aspect = aspect or width / height
        self.unit = np.array([min(1.0, 1 / aspect), min(1.0, aspect)])
        self._pad = max(2, width // 20)
        texture = str(rng.choice(textures)) if rng.random() < 0.2 + difficulty else "plain"
        full = (width + 2 * self._pad, height + 2 * self._pad)
        self._background = background(rng, texture, full, difficulty)
        self._contrasts = (_CONTRAST - 95 * difficulty, _CONTRAST)
        self._occluder = _occluder(rng) if rng.random() < 0.15 * difficulty else None
        # At most two severe degradations: with all of them the motion would be invisible.
        severe = {str(one) for one in rng.choice(_DEGRADATIONS, 2, replace=False)}
        severe = {one for one in sorted(severe) if rng.random() < 0.8 * difficulty}
        # A precomputed noise image: new noise for each frame would cost more than the rest.
        level = rng.uniform(4, 14) if "noise" in severe else 4.0 * difficulty * rng.random()
        self._noise = _noise_bank(rng, full, max(level, min_noise))
        self._blur = 0.016 * width * rng.random() if "blur" in severe else 0.0
        self._gain = rng.uniform(0.3, 0.8) if "dark" in severe else 1.0
        self._quality = int(rng.integers(15, 70)) if "compression" in severe else None
        unsteady = rng.random(2) * ("unsteady" in severe)
        self._sway, self._light = 0.015 * width * unsteady[0], 0.25 * unsteady[1]
        self._periods = rng.uniform(1.5, 6.0, 3)  # of sway, horizontal and vertical, and of light
        self._shake = 0.006 * width * difficulty * rng.random() ** 2
        self._flicker = 0.06 * difficulty * rng.random() ** 2

    def thing(self, rng: np.random.Generator, *, max_size: float) -> Thing:
        """A thing that contrasts with the background, sharp up to `max_size`."""
        color = contrasting_color(rng, self._background, self._any_contrast(rng))
        pixels = 1.25 * max_size * max(self.unit * (self.width, self.height))
        return Thing(rng, color, int(pixels))

    def person(self, rng: np.random.Generator) -> Person:
        """A person with clothes that contrast with the background."""
        return Person(rng, self._background, self._any_contrast(rng))

    def draw(
        self,
        moments: Sequence[Sequence[tuple[Actor, np.ndarray]]],
        seconds: float,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Render actors and their states: RGB uint8, (height, width, 3).

        Several `moments` make one long exposure with motion blur. `rng` draws the noise, shake and
        flicker of this frame.
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
        if self._occluder is not None:
            corners, color = self._occluder
            points = (corners * (self.width, self.height) + (shift_x, shift_y)).astype(np.int32)
            cv2.fillPoly(frame, [points], color, cv2.LINE_AA)
        return self._degrade(frame, turns[2], rng)

    def _any_contrast(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(*self._contrasts))

    def _degrade(self, frame: np.ndarray, light: float, rng: np.random.Generator) -> np.ndarray:
        """Add the degradations of lens, light, sensor and compression."""
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
            frame = compress_jpeg(frame, self._quality)
        return frame

    def _shifted_background(self, shift_x: float, shift_y: float) -> np.ndarray:
        pad = self._pad
        if shift_x == 0 and shift_y == 0:
            return self._background[pad : pad + self.height, pad : pad + self.width]
        move = np.array([[1, 0, shift_x - pad], [0, 1, shift_y - pad]])
        return cv2.warpAffine(
            self._background, move, (self.width, self.height), borderMode=cv2.BORDER_REPLICATE
        )


def compress_jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """Encode and decode a frame, uint8 RGB (H, W, 3), as JPEG of that quality."""
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _occluder(rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, ...]]:
    """A post or board that occludes the actors: corners (fractions of the frame) and color."""
    color = tuple(float(value) for value in rng.uniform(0, 255, 3))
    left, wide = rng.uniform(0, 0.9), rng.uniform(0.04, 0.12)
    if rng.random() < 0.6:  # a post
        tilt = rng.uniform(-0.1, 0.1)
        corners = [(left, 0.0), (left + wide, 0.0), (left + wide + tilt, 1.0), (left + tilt, 1.0)]
    else:
        low, left, right = rng.uniform(0.7, 0.9), left - 0.2, left + 3 * wide
        corners = [(left, low), (right, low), (right, 1.0), (left, 1.0)]
    return np.array(corners), color


def _noise_bank(rng: np.random.Generator, size: tuple[int, int], level: float) -> np.ndarray | None:
    if level < 0.5:
        return None
    noise = rng.standard_normal((size[1], size[0], 3), dtype=np.float32)
    return (noise * level).astype(np.int16)
