"""Frames with their own number drawn in, readable also after encoding and resizing."""

from __future__ import annotations

import numpy as np


def ramp(count: int) -> list[np.ndarray]:
    """Frames of eight stripes: the bits of the frame's number."""
    bits = np.unpackbits(np.arange(count, dtype=np.uint8)[:, None], axis=1)
    rows = 255 * bits.repeat(16, axis=1)
    return [np.tile(row[None, :, None], (128, 1, 3)) for row in rows]


def numbers(clips: np.ndarray) -> np.ndarray:
    """The numbers of `ramp` frames, (clips, T)."""
    return np.packbits(clips.mean(axis=(2, 4)) > 127, axis=2)[..., 0]
