"""The interface of inference engines."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class EngineError(ValueError):
    """A configuration that this machine doesn't support. The message is one line with the fix."""


class Engine(Protocol):
    """Runs one model on one device. Not thread-safe."""

    name: str  # for display: "torch bf16 on cpu"
    batch_sizes: tuple[int, ...]  # the only sizes it accepts, ascending; empty if it accepts any
    supports_batching: bool  # whether a batch is faster than its clips one by one

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """uint8 RGB (batch, T, H, W, 3) -> float32 (batch, labels).

        Raises MemoryError where the batch doesn't fit into the device's memory.
        """
