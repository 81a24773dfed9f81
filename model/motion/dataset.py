"""Drawn clips as a torch data set: clip number i of a seed is always the same clip."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model.trained import TrainedModel
from stream.synthetic import BACKWARDS, MOTIONS, draw_clip

# The splits draw from random streams that have nothing in common.
SPLITS = {"train": 1, "held out": 2}
FIELD_CHANNELS = 5
_LONGEST_S = 2.0
_BACKWARDS = torch.tensor([MOTIONS.index(BACKWARDS.get(name, name)) for name in MOTIONS])
# One step of a typical motion: shares of the picture, growth (natural logarithm), degrees.
_TYPICAL_STEP = np.array([0.06, 0.06, 0.1, 22.0])


class DrawnClips(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Clips `first` to `last` of a split, all of one difficulty.

    Each item is a clip, uint8 (T, H, W, 3), its label, and the motion field: float32
    (T, patches, 5), for each patch whether the object covers it, and how the object moves
    there (x, y, growth, turn; in typical steps).
    """

    def __init__(
        self,
        *,
        seed: int,
        split: str,
        first: int,
        last: int,
        frames: int,
        size: int,
        patch: int,
        span_s: float,
        difficulty: float = 1.0,
    ) -> None:
        self._key = (seed, SPLITS[split])
        self._first, self._last = first, last
        self._frames, self._size, self._span_s = frames, size, span_s
        self._patches = size // patch
        self._difficulty = difficulty

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, Tensor]:
        number = self._first + item
        rng = np.random.default_rng((*self._key, number))
        clip = draw_clip(
            rng,
            frames=self._frames,
            size=self._size,
            span_s=self._span_s,
            difficulty=self._difficulty,
        )
        field = motion_field(clip.poses, clip.shape, self._patches)
        return torch.from_numpy(clip.frames), torch.tensor(clip.label), torch.from_numpy(field)


def motion_field(poses: np.ndarray, shape: np.ndarray, patches: int) -> np.ndarray:
    """What moves where: float32 (T, patches * patches, 5), see DrawnClips."""
    centres = (np.arange(patches) + 0.5) / patches
    reach = poses[:, 2:3] * shape / 2 + 0.25 / patches  # (T, 2)
    across = np.abs(centres - poses[:, 0:1]) <= reach[:, 0:1]  # (T, patches)
    down = np.abs(centres - poses[:, 1:2]) <= reach[:, 1:2]
    covered = (down[:, :, None] & across[:, None, :]).reshape(len(poses), -1)
    states = np.column_stack([poses[:, :2], np.log(poses[:, 2]), poses[:, 3]])
    steps = np.gradient(states, axis=0) / _TYPICAL_STEP  # (T, 4)
    field = np.empty((*covered.shape, FIELD_CHANNELS), np.float32)
    field[..., 0] = covered
    field[..., 1:] = steps[:, None]
    return field


def with_backwards(frames: Tensor, labels: Tensor, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of DrawnClips and the same clips played backwards, twice as many.

    A pair differs in nothing but the order of its frames, which is what a network is slowest
    to heed: without this it knows the axis of a motion long before its direction.
    """
    opposite = field.flip(1)
    opposite[..., 1:] *= -1
    return (
        torch.cat([frames, frames.flip(1)]),
        torch.cat([labels, _BACKWARDS[labels]]),
        torch.cat([field, opposite]),
    )


def held_out(model: TrainedModel, clips: int, *, seed: int) -> DrawnClips:
    """Clips at full difficulty that no training has seen, of the size that a model wants.

    They last as long as the model looks, but 2 s at most: drawn motions are short.
    """
    spec = model.spec
    return DrawnClips(
        seed=seed,
        split="held out",
        first=0,
        last=clips,
        frames=spec.frames,
        size=spec.height,
        patch=model.network.config.patch_size,
        span_s=min(spec.span_s, _LONGEST_S),
    )
