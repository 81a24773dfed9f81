"""What a drawn scene looks like: background, object, and the camera's faults.

A pose is a row (x, y, size, angle): the centre as a share of the picture's width and height, the
diameter as a share of its shorter side, and degrees, clockwise on the screen.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

TRAINING_TEXTURES = ("plain", "gradient", "clouds", "clutter")
DEMO_TEXTURES = ("tiles", "plasma")  # never trained on: the demo must not be a memory test


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
        largest: float,
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
