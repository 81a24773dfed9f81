"""The picture that is being drawn, and how large a share of it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(slots=True, eq=False)
class Canvas:
    """A picture and the camera's hold on it."""

    frame: np.ndarray  # uint8 RGB, (H, W, 3)
    unit: np.ndarray  # (2,): the shorter side of the scene as shares of its width and height
    shift_x: float = 0.0  # pixels that the camera has moved
    shift_y: float = 0.0

    @property
    def across(self) -> float:
        """Pixels that the shorter side of the scene takes up across the picture."""
        return float(self.frame.shape[1] * self.unit[0])

    @property
    def down(self) -> float:
        """And down it: not the same where the scene is squashed into the picture."""
        return float(self.frame.shape[0] * self.unit[1])
