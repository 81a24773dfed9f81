"""Drawn moving scenes with known truth: the demo camera and the training clips.

A scene is one object over a still background. Its pose is a function of time, so the
same code draws a training clip of 8 frames and a camera picture at any moment.

A pose is a row (x, y, size, angle): the centre as a share of the picture's width and
height, the diameter as a share of its shorter side, and degrees, clockwise on the screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

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
TRAINING_TEXTURES = ("plain", "gradient", "clouds", "clutter")
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
DEMO_TEXTURES = ("tiles", "plasma")  # never trained on: the demo must not be a memory test

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


class Look:
    """What a scene looks like: a background, an object, and the camera's faults.

    Drawn from `rng` for pictures of `width` x `height` pixels. `difficulty` from 0 to 1
    widens every range: textures, clutter, weaker contrast, noise, shake and flicker.
    `aspect` is the shape of the scene, width over height: where it differs from the picture's
    own the scene is squashed into it, as a model that takes square pictures sees a camera.
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
        largest: float = _SIZES[1],
    ) -> None:
        self.width, self.height = width, height
        aspect = aspect or width / height
        # Pixels that the shorter side of the scene takes up across and down the picture.
        self._across = width * min(1.0, 1 / aspect)
        self._down = height * min(1.0, aspect)
        self._pad = max(2, width // 24)
        texture = str(rng.choice(textures)) if rng.random() < 0.2 + difficulty else "plain"
        full = (width + 2 * self._pad, height + 2 * self._pad)
        self._background = _background(rng, texture, full, difficulty)
        contrast = 150 - 95 * difficulty * rng.random()
        colour = _colour_away_from(rng, self._background, contrast)
        pixels = max(8, int(1.25 * largest * max(self._across, self._down)))
        self._sprites = _sprite_pyramid(rng, pixels, colour)
        # Sensor noise and hand shake; a bank of noise, because drawing it afresh costs more
        # than the rest of the picture.
        self._noise = _noise_bank(rng, full, 8.0 * difficulty * rng.random())
        self._shake = 0.006 * width * difficulty * rng.random() ** 2
        self._flicker = 0.06 * difficulty * rng.random() ** 2
        self._blur = 0.8 * rng.random() if rng.random() < 0.3 * difficulty else 0.0

    def draw(self, pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The picture with the object at `pose`: RGB uint8, (height, width, 3).

        `rng` draws what differs between two pictures of one scene: noise, shake, flicker.
        """
        shift_x, shift_y = rng.normal(0, self._shake, 2) if self._shake > 0.1 else (0.0, 0.0)
        frame = self._shifted_background(float(shift_x), float(shift_y))
        self._paste(frame, pose, float(shift_x), float(shift_y))
        if self._blur > 0.3:
            frame = cv2.GaussianBlur(frame, (3, 3), self._blur)
        if self._flicker > 0.005:
            frame = cv2.convertScaleAbs(frame, alpha=1 + float(rng.normal(0, self._flicker)))
        if self._noise is not None:
            top, left = rng.integers(0, 2 * self._pad, 2)
            patch = self._noise[top : top + self.height, left : left + self.width]
            frame = cv2.add(frame, patch, dtype=cv2.CV_8U)
        return frame

    def _shifted_background(self, shift_x: float, shift_y: float) -> np.ndarray:
        pad = self._pad
        if shift_x == 0 and shift_y == 0:
            inner = self._background[pad : pad + self.height, pad : pad + self.width]
            return np.ascontiguousarray(inner)
        move = np.array([[1, 0, shift_x - pad], [0, 1, shift_y - pad]])
        return cv2.warpAffine(
            self._background, move, (self.width, self.height), borderMode=cv2.BORDER_REPLICATE
        )

    def _paste(self, frame: np.ndarray, pose: np.ndarray, shift_x: float, shift_y: float) -> None:
        """Draw the object into `frame`, touching only the rectangle that it covers."""
        x, y, size, angle = (float(value) for value in pose)
        across, down = size * self._across, size * self._down
        sprite = self._sprites[0]
        for smaller in self._sprites[1:]:  # the nearest size that is not too small: no aliasing
            if smaller.shape[0] < max(across, down):
                break
            sprite = smaller
        centre_x, centre_y = x * self.width + shift_x, y * self.height + shift_y
        reach_x, reach_y = across * 0.75 + 1, down * 0.75 + 1  # the square's corners, turned
        left, top = max(0, int(centre_x - reach_x)), max(0, int(centre_y - reach_y))
        right = min(self.width, int(centre_x + reach_x) + 1)
        bottom = min(self.height, int(centre_y + reach_y) + 1)
        if right <= left or bottom <= top:
            return
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        side = sprite.shape[0]
        turn = (
            np.array([[across * cos, -across * sin], [down * sin, down * cos]], dtype=np.float64)
            / side
        )
        offset = np.array([centre_x - left, centre_y - top]) - turn @ (np.array([side, side]) / 2)
        warped = cv2.warpAffine(
            sprite, np.column_stack([turn, offset]), (right - left, bottom - top)
        )
        region = frame[top:bottom, left:right]
        keep = (255 - warped[..., 3:]).astype(np.uint16)
        region[:] = warped[..., :3] + ((region * keep + 127) // 255).astype(np.uint8)


def _background(
    rng: np.random.Generator, texture: str, size: tuple[int, int], difficulty: float
) -> np.ndarray:
    width, height = size
    base = rng.uniform(20, 235, 3)
    if texture == "plain":
        return np.full((height, width, 3), base, np.uint8)
    strength = (0.25 + 0.75 * rng.random()) * difficulty
    picture: np.ndarray
    if texture == "gradient":
        corners = base + strength * rng.uniform(-110, 110, (2, 2, 3))
        picture = cv2.resize(corners.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    elif texture == "plasma":
        y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
        picture = np.empty((height, width, 3), np.float32)
        for channel in range(3):
            fx, fy, phase = rng.uniform(2, 14), rng.uniform(2, 14), rng.uniform(0, 6)
            waves = np.sin(fx * x + phase) * np.cos(fy * y - phase) + np.sin(fx * y - fy * x)
            picture[..., channel] = base[channel] + 35 * strength * waves
    elif texture == "tiles":
        picture = np.full((height, width, 3), base, np.float32)
        side = max(4, int(width * rng.uniform(0.06, 0.2)))
        shades = rng.uniform(-60, 60, (height // side + 1, width // side + 1, 1)) * strength
        picture += np.kron(shades, np.ones((side, side, 1)))[:height, :width]
        picture[::side] *= 0.8
        picture[:, ::side] *= 0.8
    else:
        picture = np.full((height, width, 3), base, np.float32)
        for cells in (3, 7, 16):  # octaves of smooth noise
            coarse = rng.normal(0, 75 * strength / cells**0.4, (cells, cells, 3))
            picture += cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    if texture == "clutter":
        _scatter(rng, picture, int(rng.integers(2, 3 + int(8 * difficulty))))
    return picture


def _scatter(rng: np.random.Generator, picture: np.ndarray, count: int) -> None:
    """Still things in the background, so that a shape alone does not mean the object."""
    height, width = picture.shape[:2]
    for _ in range(count):
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        points = rng.uniform(0, 1, (int(rng.integers(3, 6)), 2)) * rng.uniform(0.1, 0.4)
        points = (points + rng.uniform(-0.1, 0.9, 2)) * (width, height)
        if rng.random() < 0.3:
            cv2.line(
                picture,
                tuple(points[0].astype(int).tolist()),
                tuple(points[1].astype(int).tolist()),
                colour,
                max(1, width // 60),
                cv2.LINE_AA,
            )
        else:
            hull = cv2.convexHull(points.astype(np.int32))
            cv2.fillPoly(picture, [hull], colour, cv2.LINE_AA)


def _colour_away_from(rng: np.random.Generator, picture: np.ndarray, contrast: float) -> np.ndarray:
    """A random colour at least `contrast` away (Euclidean, RGB) from the picture's mean."""
    mean = np.asarray(cv2.mean(picture)[:3])
    for _ in range(50):
        colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - mean) >= contrast:
            return colour
    return 255.0 - mean


def _sprite_pyramid(rng: np.random.Generator, pixels: int, colour: np.ndarray) -> list[np.ndarray]:
    """The object as RGBA with premultiplied alpha, (S, S, 4), halved until it is tiny.

    No shape looks the same after a turn of less than a whole circle: one side has another
    colour, or no eye could tell which way it rotates.
    """
    sharp = 2 * pixels
    canvas = np.zeros((sharp, sharp, 4), np.uint8)
    centre, radius = sharp / 2, sharp * 0.47
    paint = (*(int(value) for value in colour), 255)
    kind = rng.choice(("blob", "box", "ellipse", "star", "hand"))
    if kind == "ellipse":
        axes = (int(radius), int(radius * rng.uniform(0.45, 0.8)))
        cv2.ellipse(canvas, (int(centre), int(centre)), axes, 0, 0, 360, paint, -1, cv2.LINE_AA)
    elif kind == "hand":
        _hand(canvas, radius, paint, fingers=int(rng.integers(3, 6)))
    else:
        if kind == "box":
            flat = rng.uniform(0.35, 0.75)
            corners = np.array([[-1, -flat], [1, -flat], [1, flat], [-1, flat]]) * 0.8
        else:
            count = int(rng.integers(5, 9))
            turns = 2 * math.pi * (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count
            spokes = rng.uniform(0.6, 1, count)
            if kind == "star":
                spokes[::2] *= 0.45
            corners = np.column_stack([np.cos(turns), np.sin(turns)]) * spokes[:, None]
        cv2.fillPoly(canvas, [(corners * radius + centre).astype(np.int32)], paint, cv2.LINE_AA)
    inside = canvas[..., 3] > 0
    direction = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[0:sharp, 0:sharp] - centre
    beyond = x * math.cos(direction) + y * math.sin(direction) > radius * rng.uniform(0.0, 0.3)
    second = np.where(colour > 127, colour - rng.uniform(80, 127), colour + rng.uniform(80, 127))
    canvas[inside & beyond, :3] = second.astype(np.uint8)
    if rng.random() < 0.5:  # a spot off the centre
        place = rng.uniform(0, 2 * math.pi)
        at = (
            int(centre + 0.45 * radius * math.cos(place)),
            int(centre + 0.45 * radius * math.sin(place)),
        )
        spot = canvas.copy()
        spot_colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.circle(spot, at, int(radius * rng.uniform(0.15, 0.3)), (*spot_colour, 255), -1)
        canvas[inside] = spot[inside]
    shade = 1 + rng.uniform(-0.3, 0.3) * (x + y) / (2 * radius)
    rgb = np.clip(canvas[..., :3] * shade[..., None], 0, 255)
    canvas[..., :3] = (rgb * (canvas[..., 3:] / 255)).astype(np.uint8)
    sprites = []
    side = pixels
    while side >= 6:
        sprites.append(cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA))
        side //= 2
    return sprites


def _hand(canvas: np.ndarray, radius: float, paint: tuple[int, ...], fingers: int) -> None:
    centre = canvas.shape[0] / 2
    palm = (int(centre), int(centre + 0.35 * radius))
    cv2.circle(canvas, palm, int(0.45 * radius), paint, -1, cv2.LINE_AA)
    for turn in np.linspace(-0.8, 0.8, fingers):
        tip = (
            int(centre + 0.9 * radius * math.sin(turn)),
            int(centre + 0.35 * radius - 1.2 * radius * math.cos(turn)),
        )
        cv2.line(canvas, palm, tip, paint, max(2, int(0.2 * radius)), cv2.LINE_AA)


def _noise_bank(rng: np.random.Generator, size: tuple[int, int], level: float) -> np.ndarray | None:
    if level < 0.5:
        return None
    noise = rng.standard_normal((size[1], size[0], 3), dtype=np.float32)
    return (noise * level).astype(np.int16)


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
    """The demo camera: one object performs random motions with rests between, for ever.

    The same seed draws the same scene. Not safe for use by several threads.
    """

    def __init__(self, seed: int = 0, *, width: int = 640, height: int = 480) -> None:
        self._rng = np.random.default_rng((seed, 0xD3A0))
        self._seed = seed
        self._look = Look(
            self._rng, width, height, textures=DEMO_TEXTURES, difficulty=0.7, largest=0.5
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
        while True:
            rest = self._rng.uniform(1.5, 3.0)
            yield Segment(STILL, now, now + rest), Motion(STILL), pose
            now += rest
            motion, length = self._next_motion(pose)
            yield Segment(motion.name, now, now + length), motion, pose
            now += length
            pose = motion.poses(pose, np.array([length]))[0]

    def _next_motion(self, pose: np.ndarray) -> tuple[Motion, float]:
        while True:
            motion = random_motion(self._rng, str(self._rng.choice(MOTIONS[1:])), ease=0.3)
            length = min(float(self._rng.uniform(2.2, 4.0)), motion.seconds_that_fit(pose))
            if motion.name == "wave":  # whole swings, so that it ends where it began
                length = math.ceil(length * motion.rate) / motion.rate
            if length >= 1.8:
                return motion, length
