"""What bad cameras do to a clip, for telling how much of it a model stands."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from stream.synthetic import compressed

# As strong as a person would call bad. Noise is in levels of 255, blur is the standard deviation
# as a share of the picture's width, the dark leaves this share of the light.
_NOISE, _BLUR, _LIGHT, _QUALITY = 12.0, 0.015, 0.3, 20

Corruption = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _noise(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    level = rng.standard_normal(frame.shape, dtype=np.float32) * _NOISE
    return cv2.add(frame, level, dtype=cv2.CV_8U)


def _blur(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(frame, (0, 0), _BLUR * frame.shape[1])


def _dark(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return cv2.convertScaleAbs(frame, alpha=_LIGHT)


def _jpeg(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return compressed(frame, _QUALITY)


CORRUPTIONS: dict[str, Corruption] = {
    "noise": _noise,
    "blur": _blur,
    "dark": _dark,
    "jpeg": _jpeg,
}


def corrupted(name: str, views: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Views, uint8 RGB (V, T, H, W, 3), each frame spoilt by one of CORRUPTIONS; as many, new."""
    corruption = CORRUPTIONS[name]
    frames = views.reshape(-1, *views.shape[2:])
    return np.stack([corruption(frame, rng) for frame in frames]).reshape(views.shape)
