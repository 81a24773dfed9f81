from __future__ import annotations

import numpy as np
import torch

from model.preprocess import normalise


def test_pixels_are_rescaled_and_normalised_channel_by_channel() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 6, 3), dtype=np.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    pixels = normalise(torch.from_numpy(clips), mean, std)
    expected = ((clips / 255 - mean) / std).transpose(0, 1, 4, 2, 3)
    assert pixels.shape == (2, 4, 3, 5, 6)
    assert np.allclose(pixels.numpy(), expected, atol=1e-5)
