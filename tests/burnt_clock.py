"""Frames with a burnt-in clock that survives JPEG and H.264, and can be read back exactly."""

from __future__ import annotations

import cv2
import numpy as np

BITS = 24  # of milliseconds: over four hours
_BAND = 8  # the clock is the lowest 1/8 of the frame


def draw(time_s: float, *, width: int = 320, height: int = 240) -> np.ndarray:
    """A dot on gray, and the time as black and white blocks: RGB uint8 (height, width, 3)."""
    frame = np.full((height, width, 3), 110, np.uint8)
    x = int(width * (0.1 + 0.8 * (time_s % 1)))
    cv2.circle(frame, (x, height // 2), height // 8, (220, 40, 60), -1)
    return stamp(frame, time_s)


def stamp(frame: np.ndarray, time_s: float) -> np.ndarray:
    """Draw the time over a frame, uint8 (H, W, 3), and return the frame."""
    height, width = frame.shape[:2]
    milliseconds = round(time_s * 1000)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        frame[height - height // _BAND :, left:right] = 255 * (milliseconds >> bit & 1)
    return frame


def read(frame: np.ndarray) -> float:
    """The time that was drawn into a frame, (H, W, 3), in seconds."""
    height, width = frame.shape[:2]
    row = frame[height - height // _BAND // 2].mean(axis=-1)
    ones = [int(row[int((bit + 0.5) * width / BITS)] > 127) for bit in range(BITS)]
    return sum(one << bit for bit, one in enumerate(ones)) / 1000


# The same for a canvas: (context, width, height) => seconds.
READ_IN_BROWSER = f"""(context, width, height) => {{
    const y = height - Math.floor(Math.floor(height / {_BAND}) / 2);
    let milliseconds = 0;
    for (let bit = 0; bit < {BITS}; bit++) {{
        const x = Math.floor((bit + 0.5) * width / {BITS});
        const [red, green, blue] = context.getImageData(x, y, 1, 1).data;
        if (red + green + blue > 3 * 127) milliseconds += 2 ** bit;
    }}
    return milliseconds / 1000;
}}"""
