"""Resizes camera frames to the model's input size. Pure; done once, at capture."""

from __future__ import annotations

import cv2
import numpy as np

from stream.messages import ClipSpec

_BAR_GRAY = 115  # about the mean of published models: close to zero after normalization


def fit_frame(pixels: np.ndarray, spec: ClipSpec, position: float = 0.5) -> np.ndarray:
    """RGB uint8 (H, W, 3) of any size -> (spec.height, spec.width, 3).

    "squash" distorts the whole frame, "letterbox" adds gray bars to it. "crop" resizes the shorter
    side to `spec.shortest_edge` and crops the center, as Hugging Face's image processors do; a
    `position` of 0 or 1 crops the left or right end instead, or the top or bottom.
    """
    height, width = pixels.shape[:2]
    if spec.fit == "squash":
        return resize(pixels, spec.width, spec.height)
    if spec.fit == "letterbox":
        scale = min(spec.width / width, spec.height / height)
        across, down = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (spec.width - across) // 2, (spec.height - down) // 2
        boxed = np.full((spec.height, spec.width, 3), _BAR_GRAY, np.uint8)
        boxed[top : top + down, left : left + across] = resize(pixels, across, down)
        return boxed
    scale = max(spec.shortest_edge, spec.height, spec.width) / min(height, width)
    across = max(spec.width, int(width * scale))  # rounded down, as in Hugging Face's processors
    down = max(spec.height, int(height * scale))
    left, top = int((across - spec.width) * position), int((down - spec.height) * position)
    whole = resize(pixels, across, down)
    return whole[top : top + spec.height, left : left + spec.width]


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image of any size -> (height, width, 3), without aliasing."""
    if pixels.shape[:2] == (height, width):
        return pixels
    # Area averaging where the image shrinks: linear interpolation would skip pixels.
    # An axis that grows needs a second call.
    down, across = min(height, pixels.shape[0]), min(width, pixels.shape[1])
    if (down, across) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (across, down), interpolation=cv2.INTER_AREA)
    if (down, across) != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return pixels
