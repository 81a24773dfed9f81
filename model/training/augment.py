"""Random crop, color jitter and mirroring of training clips, the same for all frames of a clip."""

from __future__ import annotations

import re
from collections.abc import Sequence

import cv2
import numpy as np

from model.training.train_config import TrainConfig
from stream.regions.resize import resize

# Pairs of direction words that a horizontal flip swaps, in several languages.
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
_OPPOSITE = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
_COUNTERCLOCKWISE = re.compile(r"(counter|anti)[\W_]*clockwise", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\Wa-zA-Z_]+")
_DIRECTION = re.compile("left|right|clockwise")


def mirrored_labels(labels: Sequence[str]) -> list[int | None]:
    """For each label the index of its mirror image: itself, another label, or None.

    "swipe left" becomes "swipe right" if that label exists. None means never mirror: "turn
    clockwise" without its opposite, or a word that only resembles a direction, such as "leftover".
    """
    words = [_words(label) for label in labels]
    return [
        index if not any(map(_is_direction, own)) else _mirror_index(own, words)
        for index, own in enumerate(words)
    ]


def augment(
    clip: np.ndarray, size: tuple[int, int], config: TrainConfig, rng: np.random.Generator
) -> np.ndarray:
    """Randomly crop and recolor a clip, uint8 (T, H, W, 3) of any size, into (T, *size, 3)."""
    height, width = clip.shape[1:3]
    area = 1.0 - rng.uniform(0, config.random_crop)
    aspect = np.exp(rng.uniform(-0.1, 0.1)) if config.random_crop else 1.0
    crop_height = min(height, round(height * np.sqrt(area) * aspect))
    crop_width = min(width, round(width * np.sqrt(area) / aspect))
    top = rng.integers(height - crop_height + 1)
    left = rng.integers(width - crop_width + 1)
    cropped = clip[:, top : top + crop_height, left : left + crop_width]
    small = np.stack([resize(frame, size[1], size[0]) for frame in cropped])
    return _jitter_colors(small, config.color_jitter, rng) if config.color_jitter else small


def _jitter_colors(clip: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    brightness, contrast, saturation = np.exp(rng.uniform(-strength, strength, 3))
    # One affine map: saturation around each pixel's gray value, contrast around the clip's mean.
    mix = saturation * np.eye(3) + (1 - saturation) / 3
    offset = np.full((3, 1), (1 - contrast) * clip.mean())
    matrix = brightness * np.hstack([contrast * mix, offset])
    return cv2.transform(clip.reshape(-1, clip.shape[2], 3), matrix).reshape(clip.shape)


def _words(label: str) -> list[str]:
    """The label's words in lower case; splits turn-left, turn_left and TurnLeft alike."""
    text = _COUNTERCLOCKWISE.sub(" counterclockwise ", label)
    return [word.lower() for word in _WORD.findall(text)]


def _is_direction(word: str) -> bool:
    return word in _OPPOSITE or _DIRECTION.search(word) is not None


def _mirror_index(own: list[str], labels: Sequence[list[str]]) -> int | None:
    """The index of the label with the same words and opposite directions; None if not found."""
    opposite = [_OPPOSITE.get(word, word) for word in own]
    known = opposite in labels and all(w in _OPPOSITE for w in own if _is_direction(w))
    return labels.index(opposite) if known else None
