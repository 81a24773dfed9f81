"""A camera's picture -> the picture that the model takes. Pure; done once, at capture."""

from __future__ import annotations

import cv2
import numpy as np

from stream.messages import ClipSpec

_BARS = 115  # about the mean of published models: after normalisation, nothing


def fit_picture(pixels: np.ndarray, spec: ClipSpec, place: float = 0.5) -> np.ndarray:
    """RGB uint8 (H, W, 3) of any size -> (spec.height, spec.width, 3).

    "squash" takes the whole picture and bends it, "letterbox" takes the whole picture between grey
    bars. "crop" brings the shorter side to `spec.shortest_edge` and cuts out the middle, as Hugging
    Face's image processors do; with a `place` of 0 or 1 the left or right end, or top or bottom.
    """
    height, width = pixels.shape[:2]
    if spec.fit == "squash":
        return resized(pixels, spec.width, spec.height)
    if spec.fit == "letterbox":
        scale = min(spec.width / width, spec.height / height)
        across, down = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (spec.width - across) // 2, (spec.height - down) // 2
        boxed = np.full((spec.height, spec.width, 3), _BARS, np.uint8)
        boxed[top : top + down, left : left + across] = resized(pixels, across, down)
        return boxed
    scale = max(spec.shortest_edge, spec.height, spec.width) / min(height, width)
    across = max(spec.width, int(width * scale))  # rounded down, as theirs
    down = max(spec.height, int(height * scale))
    left, top = int((across - spec.width) * place), int((down - spec.height) * place)
    whole = resized(pixels, across, down)
    return whole[top : top + spec.height, left : left + spec.width]


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture of any size -> (height, width, 3), without flicker of thin things."""
    if pixels.shape[:2] == (height, width):
        return pixels
    # Area averaging where it shrinks: linear interpolation would skip pixels. An
    # axis that grows has to be done by itself.
    down, across = min(height, pixels.shape[0]), min(width, pixels.shape[1])
    if (down, across) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (across, down), interpolation=cv2.INTER_AREA)
    if (down, across) != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return pixels
