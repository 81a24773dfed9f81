"""Training clips made different each time, all pictures of a clip alike. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stream.regions.resize import resized

# Words of a label that a mirror makes wrong, in pairs, in some languages.
_PAIRS = (
    ("left", "right"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("clockwise", "counterclockwise"),
    ("cw", "ccw"),
    ("links", "rechts"),
    ("linke", "rechte"),
    ("gauche", "droite"),
    ("izquierda", "derecha"),
    ("esquerda", "direita"),
    ("sinistra", "destra"),
)
_MIRRORED = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
_COUNTER = re.compile(r"(counter|anti)[\W_]*clockwise", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\Wa-zA-Z_]+")
_LIKE_ONE = re.compile("left|right|clockwise")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much training clips are changed; 0 is not at all."""

    crop: float = 0.35  # at most this share of the picture is cut away
    colour: float = 0.3  # brightness, contrast and saturation, each by this share
    flip: bool = True  # mirror half of the clips, see `mirrored`


def mirrored(labels: Sequence[str]) -> list[int | None]:
    """What each label is in a mirror, by number: itself, another one, or None: not among them.

    "swipe left" is "swipe right" where there is such a label. "turn clockwise" alone has no image,
    nor has what only looks like a direction, such as "leftover": their clips are never mirrored.
    """
    words = [_words(label) for label in labels]
    return [
        number if not any(map(_directed, own)) else _image(own, words)
        for number, own in enumerate(words)
    ]


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
    # All of it is linear: saturation about each pixel's grey, contrast about the clip's middle.
    mix = saturation * np.eye(3) + (1 - saturation) / 3
    shift = np.full((3, 1), (1 - contrast) * clip.mean())
    change = brightness * np.hstack([contrast * mix, shift])
    return cv2.transform(clip.reshape(-1, clip.shape[2], 3), change).reshape(clip.shape)


def _words(label: str) -> list[str]:
    """Its words in small letters, however they are parted: turn-left, turn_left, TurnLeft."""
    return [word.lower() for word in _WORD.findall(_COUNTER.sub(" counterclockwise ", label))]


def _directed(word: str) -> bool:
    return word in _MIRRORED or _LIKE_ONE.search(word) is not None


def _image(own: list[str], labels: Sequence[list[str]]) -> int | None:
    """Where the label with these words, but the other directions, is among the labels."""
    turned = [_MIRRORED.get(word, word) for word in own]
    known = turned in labels and all(w in _MIRRORED for w in own if _directed(w))
    return labels.index(turned) if known else None
