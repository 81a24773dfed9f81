"""Backgrounds of synthetic scenes, plain to photograph-like, and colors that contrast with them."""

from __future__ import annotations

import cv2
import numpy as np

TRAINING_TEXTURES = ("plain", "gradient", "clouds", "clutter", "room", "room", "photograph")
DEMO_TEXTURES = ("tiles", "plasma")  # never trained on: the demo must not test memorization


def background(
    rng: np.random.Generator, texture: str, size: tuple[int, int], difficulty: float
) -> np.ndarray:
    """A background with one of the textures; `size` is (width, height): RGB uint8 (H, W, 3).

    `difficulty` from 0 to 1 raises its contrast and clutter.
    """
    width, height = size
    base = rng.uniform(20, 235, 3)
    base = base.mean() + rng.random() * (base - base.mean())  # most rooms have muted colors
    if texture == "plain":
        return np.full((height, width, 3), base, np.uint8)
    strength = (0.25 + 0.75 * rng.random()) * difficulty
    image: np.ndarray
    if texture == "gradient":
        corners = base + strength * rng.uniform(-110, 110, (2, 2, 3))
        image = cv2.resize(corners.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    elif texture == "plasma":
        y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
        image = np.empty((height, width, 3), np.float32)
        for channel in range(3):
            fx, fy, phase = rng.uniform(2, 14), rng.uniform(2, 14), rng.uniform(0, 6)
            waves = np.sin(fx * x + phase) * np.cos(fy * y - phase) + np.sin(fx * y - fy * x)
            image[..., channel] = base[channel] + 35 * strength * waves
    elif texture == "tiles":
        image = np.full((height, width, 3), base, np.float32)
        side = max(4, int(width * rng.uniform(0.06, 0.2)))
        shades = rng.uniform(-60, 60, (height // side + 1, width // side + 1, 1)) * strength
        image += np.kron(shades, np.ones((side, side, 1)))[:height, :width]
        image[::side] *= 0.8
        image[:, ::side] *= 0.8
    elif texture == "room":
        image = _room(rng, base, size, strength)
    elif texture == "photograph":
        image = base + _natural_noise(rng, size, 55 * strength)
        edge = _natural_noise(rng, size, 1.0)[..., :1] > rng.uniform(-0.6, 0.6)
        image += edge * rng.uniform(-70, 70, 3) * strength  # the edge of another object
    else:
        image = np.full((height, width, 3), base, np.float32)
        for cells in (3, 7, 16):  # octaves of smooth noise
            coarse = rng.normal(0, 75 * strength / cells**0.4, (cells, cells, 3))
            image += cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    image = np.clip(image, 0, 255).astype(np.uint8)
    if texture == "clutter":
        _scatter(rng, image, int(rng.integers(2, 3 + int(8 * difficulty))))
    return image


def _natural_noise(rng: np.random.Generator, size: tuple[int, int], level: float) -> np.ndarray:
    """Smooth noise with an amplitude that falls with spatial frequency, as in photographs.

    float32 (H, W, 3) with a standard deviation of about `level`. Field, "Relations between the
    statistics of natural images", 1987.
    """
    image = np.zeros((size[1], size[0], 3), np.float32)
    for cells in (2, 4, 8, 16, 32):
        coarse = rng.standard_normal((cells, cells, 3), dtype=np.float32)
        coarse = 0.25 * coarse + 0.75 * coarse[..., :1]  # neighboring colors are similar
        image += cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) * (1.1 / cells**0.5)
    return image * level


def _room(
    rng: np.random.Generator, wall: np.ndarray, size: tuple[int, int], strength: float
) -> np.ndarray:
    """A wall and a floor with doors, windows and furniture, lit from one side."""
    width, height = size
    image = np.empty((height, width, 3), np.float32)
    edge = int(height * rng.uniform(0.45, 0.85))
    image[:edge] = wall
    floor = wall + rng.uniform(-90, 90) * strength + rng.uniform(-30, 30, 3) * strength
    image[edge:] = floor
    for _ in range(int(rng.integers(1, 6))):
        left, top = rng.uniform(-0.1, 0.9) * width, rng.uniform(0, 0.9) * edge
        right = left + rng.uniform(0.08, 0.4) * width
        bottom = edge if rng.random() < 0.5 else top + rng.uniform(0.1, 0.5) * height
        bottom += rng.uniform(0, 0.12) * height * (bottom == edge)  # it stands on the floor
        box = (slice(int(max(0, top)), int(bottom)), slice(int(max(0, left)), int(right)))
        shade = rng.uniform(-110, 110) * strength + rng.uniform(-25, 25, 3)
        image[box] = 0.3 * image[box] + 0.7 * (wall + shade)
        if rng.random() < 0.5:  # a door or window frame
            corners = (int(left), int(top)), (int(right), int(bottom))
            frame = tuple(float(value) for value in wall - 60 * strength)
            cv2.rectangle(image, *corners, frame, max(1, width // 90))
    left_light, right_light = rng.uniform(0.7, 1.25, 2)
    light = np.linspace(left_light, right_light, width, dtype=np.float32)
    image *= light[None, :, None]
    return image + _natural_noise(rng, size, 14 * strength)


def _scatter(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    """Draw static objects, so that a shape alone does not identify the moving object."""
    height, width = image.shape[:2]
    for _ in range(count):
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        points = rng.uniform(0, 1, (int(rng.integers(3, 6)), 2)) * rng.uniform(0.1, 0.4)
        points = (points + rng.uniform(-0.1, 0.9, 2)) * (width, height)
        if rng.random() < 0.3:
            start, end = points[:2].astype(int).tolist()
            cv2.line(image, start, end, color, max(1, width // 60), cv2.LINE_AA)
        else:
            hull = cv2.convexHull(points.astype(np.int32))
            cv2.fillPoly(image, [hull], color, cv2.LINE_AA)


def contrasting_color(rng: np.random.Generator, image: np.ndarray, contrast: float) -> np.ndarray:
    """A random color at least `contrast` away (Euclidean, RGB) from the image's mean."""
    mean = np.asarray(cv2.mean(image)[:3])
    for _ in range(50):
        color = rng.uniform(0, 255, 3)
        if np.linalg.norm(color - mean) >= contrast:
            return color
    return 255.0 - mean
