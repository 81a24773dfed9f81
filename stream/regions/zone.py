"""A zone: a part of a camera's frame that is classified separately. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Point = tuple[float, float]


class Zone:
    """A rectangle, given by two opposite corners, or a polygon.

    x and y are fractions of the frame's width and height.
    """

    def __init__(self, points: Sequence[Point], *, mask: bool = False) -> None:
        if len(points) == 2:
            (left, top), (right, bottom) = points
            points = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.points = tuple(points)
        self._mask = mask
        self._inside: np.ndarray | None = None  # (H, W, 1) bool of the bounding box

    def crop(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) -> the bounding box of the zone, uint8 (h, w, 3).

        With `mask` pixels outside of the polygon are black.
        """
        height, width = pixels.shape[:2]
        corners = np.array(self.points) * (width, height)
        left, top = np.floor(corners.min(axis=0)).astype(int)
        right, bottom = np.ceil(corners.max(axis=0)).astype(int)
        part = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
        if not self._mask:
            return part
        if self._inside is None or self._inside.shape[:2] != part.shape[:2]:
            drawn = np.zeros(part.shape[:2], np.uint8)
            cv2.fillPoly(drawn, [np.round(corners - (left, top)).astype(np.int32)], 1)
            self._inside = drawn[..., None]
        return part * self._inside
