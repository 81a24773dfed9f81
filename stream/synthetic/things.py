"""Things: the appearance of a moving object, drawn at any size and angle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(slots=True, eq=False)
class Canvas:
    """The frame that is being drawn, with its aspect ratio and camera shift."""

    frame: np.ndarray  # uint8 RGB, (H, W, 3)
    unit: np.ndarray  # (2,): the shorter side of the scene as fractions of its width and height
    shift_x: float = 0.0  # pixels that the camera has moved
    shift_y: float = 0.0

    @property
    def across(self) -> float:
        """Horizontal pixels of the shorter side of the scene."""
        return float(self.frame.shape[1] * self.unit[0])

    @property
    def down(self) -> float:
        """Vertical pixels of it: they differ if the scene is squashed into the frame."""
        return float(self.frame.shape[0] * self.unit[1])


class Thing:
    """A thing's appearance: its `color`, and sprites sharp up to a diameter of `pixels`."""

    def __init__(self, rng: np.random.Generator, color: np.ndarray, pixels: int) -> None:
        self._sprites = _sprites(rng, max(8, pixels), color)

    def paint(self, canvas: Canvas, pose: np.ndarray) -> None:
        """Draw the thing; only its bounding rectangle is touched."""
        x, y, size, angle = (float(value) for value in pose)
        frame = canvas.frame
        height, width = frame.shape[:2]
        across, down = size * canvas.across, size * canvas.down
        sprite = self._sprites[0]
        for smaller in self._sprites[1:]:  # the smallest sprite that is large enough: no aliasing
            if smaller.shape[0] < max(across, down):
                break
            sprite = smaller
        center_x, center_y = x * width + canvas.shift_x, y * height + canvas.shift_y
        reach_x, reach_y = across * 0.75 + 1, down * 0.75 + 1  # the corners of the rotated square
        left, top = max(0, int(center_x - reach_x)), max(0, int(center_y - reach_y))
        right = min(width, int(center_x + reach_x) + 1)
        bottom = min(height, int(center_y + reach_y) + 1)
        if right <= left or bottom <= top:
            return
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        side = sprite.shape[0]
        turn = np.array([[across * cos, -across * sin], [down * sin, down * cos]]) / side
        offset = np.array([center_x - left, center_y - top]) - turn @ (np.array([side, side]) / 2)
        warped = cv2.warpAffine(
            sprite, np.column_stack([turn, offset]), (right - left, bottom - top)
        )
        region = frame[top:bottom, left:right]
        keep = (255 - warped[..., 3:]).astype(np.uint16)
        region[:] = warped[..., :3] + ((region * keep + 127) // 255).astype(np.uint8)


def _sprites(rng: np.random.Generator, pixels: int, color: np.ndarray) -> list[np.ndarray]:
    """The object as RGBA with premultiplied alpha, (S, S, 4), halved until it is tiny.

    No shape has rotational symmetry: one side has another color, so that the direction of a
    rotation is visible.
    """
    sharp = 2 * pixels
    canvas = np.zeros((sharp, sharp, 4), np.uint8)
    center, radius = sharp / 2, sharp * 0.47
    paint = (*(int(value) for value in color), 255)
    kind = rng.choice(("blob", "box", "ellipse", "star", "hand"))
    if kind == "ellipse":
        axes = (int(radius), int(radius * rng.uniform(0.45, 0.8)))
        cv2.ellipse(canvas, (int(center), int(center)), axes, 0, 0, 360, paint, -1, cv2.LINE_AA)
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
        cv2.fillPoly(canvas, [(corners * radius + center).astype(np.int32)], paint, cv2.LINE_AA)
    inside = canvas[..., 3] > 0
    direction = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[0:sharp, 0:sharp] - center
    beyond = x * math.cos(direction) + y * math.sin(direction) > radius * rng.uniform(0.0, 0.3)
    second = np.where(color > 127, color - rng.uniform(80, 127), color + rng.uniform(80, 127))
    canvas[inside & beyond, :3] = second.astype(np.uint8)
    if rng.random() < 0.5:  # an off-center spot
        angle = rng.uniform(0, 2 * math.pi)
        at = (
            int(center + 0.45 * radius * math.cos(angle)),
            int(center + 0.45 * radius * math.sin(angle)),
        )
        spot = canvas.copy()
        spot_color = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.circle(spot, at, int(radius * rng.uniform(0.15, 0.3)), (*spot_color, 255), -1)
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
    center = canvas.shape[0] / 2
    palm = (int(center), int(center + 0.35 * radius))
    cv2.circle(canvas, palm, int(0.45 * radius), paint, -1, cv2.LINE_AA)
    for turn in np.linspace(-0.8, 0.8, fingers):
        tip = (
            int(center + 0.9 * radius * math.sin(turn)),
            int(center + 0.35 * radius - 1.2 * radius * math.cos(turn)),
        )
        cv2.line(canvas, palm, tip, paint, max(2, int(0.2 * radius)), cv2.LINE_AA)
