"""The canvas: the frame that is being drawn, with its coordinate system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(slots=True, eq=False)
class Canvas:
    """A frame, with its aspect ratio and camera shift."""

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
