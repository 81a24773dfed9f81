"""What runs a model: the one thing that all engines have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class EngineError(ValueError):
    """A choice that can't be had on this machine. The message is one line with the way out."""


class Engine(Protocol):
    """Runs one model on one device. Not for use by several threads at once."""

    name: str  # what was chosen, for people: "torch bf16 on cpu"
    sizes: tuple[int, ...]  # the only batch sizes it takes, rising; empty where it takes any
    batches: bool  # whether several clips at once are faster than one after the other

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """uint8 RGB (batch, T, H, W, 3) -> float32 (batch, labels).

        Raises MemoryError where the device has no room for so many clips.
        """
