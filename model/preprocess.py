"""uint8 clips -> normalized tensors, on the model's device.

Training, files and live cameras share this code. Frames arrive at the model's size: they are
resized once, after capture (`stream/regions/resize.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor


def normalize(clips: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 (batch, T, H, W, 3) -> float32 (batch, T, 3, H, W), (pixel / 255 - mean) / std."""
    shape = (1, 1, 3, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std], device=clips.device).view(shape)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=clips.device)
    return clips.permute(0, 1, 4, 2, 3).float() * scale + shift.view(shape)
