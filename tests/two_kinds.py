"""Films of two kinds that a tiny network learns to tell apart in a few steps: by their colour."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

COLOURS = {"red": (200, 40, 40), "blue": (40, 40, 200)}


def write_films(folder: Path, count: int = 6, *, seconds: float = 1.0) -> Path:
    """FOLDER/red/0.mp4 and so on, `count` of each kind, 12 pictures a second, all different."""
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            file = folder / label / f"{number}.mp4"
            writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 12, (48, 36))
            for _ in range(round(12 * seconds)):
                noise = rng.normal(0, 20, (36, 48, 3))
                picture = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            writer.release()
    return folder
