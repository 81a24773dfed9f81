"""Videos of two classes that a tiny network separates in a few steps, by their color."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

COLORS = {"red": (200, 40, 40), "blue": (40, 40, 200)}


def write_videos(folder: Path, count: int = 6, *, seconds: float = 1.0) -> Path:
    """Write FOLDER/red/0.mp4 and so on: `count` different videos per class, 12 frames a second."""
    rng = np.random.default_rng(0)
    for label, color in COLORS.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            file = folder / label / f"{number}.mp4"
            writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 12, (48, 36))
            for _ in range(round(12 * seconds)):
                noise = rng.normal(0, 20, (36, 48, 3))
                frame = (np.array(color) + noise).clip(0, 255).astype(np.uint8)
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            writer.release()
    return folder
