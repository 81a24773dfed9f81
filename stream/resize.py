"""A camera's picture -> the picture that the model takes. Pure; done once, at capture."""

from __future__ import annotations

import cv2
import numpy as np

from stream.messages import ClipSpec


def fit_picture(pixels: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """RGB uint8 (H, W, 3) of any size -> (spec.height, spec.width, 3).

    "squash" takes the whole picture. "crop" brings the shorter side to `spec.shortest_edge` and
    cuts out the middle, as Hugging Face's image processors do.
    """
    height, width = pixels.shape[:2]
    if spec.fit == "squash":
        return _resized(pixels, spec.width, spec.height)
    scale = spec.shortest_edge / min(height, width)
    across = max(spec.width, round(width * scale))
    down = max(spec.height, round(height * scale))
    left, top = (across - spec.width) // 2, (down - spec.height) // 2
    whole = _resized(pixels, across, down)
    return whole[top : top + spec.height, left : left + spec.width]


def _resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = height < pixels.shape[0]
    # Area averaging: linear interpolation skips pixels when it shrinks, and thin things flicker.
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=how)
