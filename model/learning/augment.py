"""Training clips made different each time, all pictures of a clip alike. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream.resize import resized

# Words of a label that a mirror makes wrong, each with what it becomes.
_MIRRORED = {
    "left": "right",
    "right": "left",
    "leftwards": "rightwards",
    "rightwards": "leftwards",
    "clockwise": "counter-clockwise",
    "counter-clockwise": "clockwise",
    "counterclockwise": "clockwise",
    "anticlockwise": "clockwise",
}


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much training clips are changed; 0 is not at all."""

    crop: float = 0.35  # at most this share of the picture is cut away
    colour: float = 0.3  # brightness, contrast and saturation, each by this share
    flip: bool = True  # mirror half of the clips, see `mirrored`


def mirrored(labels: Sequence[str]) -> list[int | None]:
    """What each label is in a mirror, by number: itself, another one, or None: not among them.

    "swipe left" is "swipe right" where there is such a label. "turn clockwise" alone has no image:
    its clips are never mirrored. Words count, not letters: "leftover" has no direction.
    """
    numbers = {label.casefold(): number for number, label in enumerate(labels)}
    return [numbers.get(_in_a_mirror(label)) for label in labels]


def augment(
    clip: np.ndarray, size: tuple[int, int], change: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """Crop and colour a clip, uint8 (T, H, W, 3) of any size, into (T, *size, 3)."""
    height, width = clip.shape[1:3]
    share = 1.0 - rng.uniform(0, change.crop)
    # The sides differ a little, as people come in all shapes.
    stretch = np.exp(rng.uniform(-0.1, 0.1)) if change.crop else 1.0
    down = min(height, round(height * np.sqrt(share) * stretch))
    across = min(width, round(width * np.sqrt(share) / stretch))
    top, left = rng.integers(height - down + 1), rng.integers(width - across + 1)
    cut = clip[:, top : top + down, left : left + across]
    small = np.stack([resized(picture, size[1], size[0]) for picture in cut])
    return _coloured(small, change.colour, rng) if change.colour else small


def _coloured(clip: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    brightness, contrast, saturation = np.exp(rng.uniform(-strength, strength, 3))
    pixels = clip.astype(np.float32)
    grey = pixels.mean(axis=-1, keepdims=True)
    pixels = grey + (pixels - grey) * saturation
    middle = pixels.mean()
    pixels = (middle + (pixels - middle) * contrast) * brightness
    return pixels.clip(0, 255).astype(np.uint8)


def _in_a_mirror(label: str) -> str:
    words = re.split(r"([\s_/]+)", label.casefold())
    return "".join(_MIRRORED.get(word, word) for word in words)
