"""Camera-like image corruptions, for robustness tests and for training."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from stream.synthetic.stage import compress_jpeg

# At full strength, which a person would call bad. Noise in levels of 255, blur as standard
# deviation relative to the frame's width, and the fraction of the light that is left.
_NOISE, _BLUR, _LIGHT, _QUALITY = 12.0, 0.015, 0.3, 20

# A frame, the random generator of this frame, and the strength from 0 to 1.
Corruption = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]


def _noise(frame: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    level = rng.standard_normal(frame.shape, dtype=np.float32) * (_NOISE * strength)
    return cv2.add(frame, level, dtype=cv2.CV_8U)


def _blur(frame: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    sigma = _BLUR * strength * frame.shape[1]
    return cv2.GaussianBlur(frame, (0, 0), sigma) if sigma > 0.1 else frame


def _dark(frame: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    return cv2.convertScaleAbs(frame, alpha=1 - (1 - _LIGHT) * strength)


def _jpeg(frame: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    return compress_jpeg(frame, round(100 - (100 - _QUALITY) * strength))


CORRUPTIONS: dict[str, Corruption] = {
    "noise": _noise,
    "blur": _blur,
    "dark": _dark,
    "jpeg": _jpeg,
}


def corrupted(
    name: str, views: np.ndarray, rng: np.random.Generator, strength: float = 1.0
) -> np.ndarray:
    """A new array of the views, uint8 RGB (..., H, W, 3), each frame corrupted.

    `name` is a key of CORRUPTIONS; `strength` is from 0, hardly visible, to 1.
    """
    corrupt = CORRUPTIONS[name]
    frames = views.reshape(-1, *views.shape[-3:])
    return np.stack([corrupt(frame, rng, strength) for frame in frames]).reshape(views.shape)
