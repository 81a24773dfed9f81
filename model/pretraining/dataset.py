"""Drawn clips as a torch data set: clip number i of a seed is always the same clip."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model.evaluation.corruptions import CORRUPTIONS, corrupted
from model.trained_model import TrainedModel
from stream.synthetic import BACKWARDS, LONGEST_S, MOTIONS, draw_clip

# The splits draw from random streams that have nothing in common.
SPLITS = {"train": 1, "held out": 2, "calibration": 3}
FIELD_CHANNELS = 5
_BACKWARDS = torch.tensor([MOTIONS.index(BACKWARDS.get(name, name)) for name in MOTIONS])
# One step of a typical motion: share of the picture, growth (natural logarithm), radians.
_MOVED, _GROWN, _TURNED = 0.06, 0.1, 0.4
_MOST = 4.0  # steps beyond which a motion is just fast
_SPOILT = 0.4  # share of the training clips at full difficulty that have one more fault


class DrawnClips(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Of clips `first` up to but without `last` of a split each `every`th, all of one difficulty.

    Some of those to train on are spoilt by one of CORRUPTIONS, besides the faults of the camera
    that every split has.
    Each item is a clip, uint8 (T, H, W, 3), its label, and the motion field: float32
    (T, side * side, 5), for each patch whether an actor is there, and how that moves at this very
    place (x, y) and as a whole (growth, turn), in typical steps. What stands in the way of the
    camera hides nothing from it: where a thing goes behind a post can be told.
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
        every: int = 1,
        fps: float | None = None,
    ) -> None:
        self._split = split
        self._key = (seed, SPLITS[split])
        self._first, self._last = first, last
        self._frames, self._size, self._span_s = frames, size, span_s
        self._side = size // patch  # of the grid of patches
        self._difficulty = difficulty
        self._every = every
        self._fps = fps

    def __len__(self) -> int:
        return -(-(self._last - self._first) // self._every)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, Tensor]:
        number = self._first + item * self._every
        rng = np.random.default_rng((*self._key, number))
        clip = draw_clip(
            rng,
            frames=self._frames,
            size=self._size,
            span_s=self._span_s,
            difficulty=self._difficulty,
            fps=self._fps,
        )
        field = motion_field(clip.parts, clip.unit, self._side)
        frames = clip.frames
        if self._split == "train" and rng.random() < _SPOILT * self._difficulty:
            frames = corrupted(str(rng.choice(list(CORRUPTIONS))), frames, rng, rng.random())
        return torch.from_numpy(frames), torch.tensor(clip.label), torch.from_numpy(field)


def motion_field(parts: np.ndarray, unit: np.ndarray, side: int) -> np.ndarray:
    """What moves where: float32 (T, side * side, 5), see DrawnClips.

    `parts` (T, P, 6) and `unit` (2,) are those of a DrawnClip, `side` patches make a row.
    """
    middles = (np.arange(side) + 0.5) / side
    down, across = np.meshgrid(middles, middles, indexing="ij")
    places = np.stack([across.ravel(), down.ravel()], axis=1)  # (N, 2)
    off = np.abs(places[None, None] - parts[:, :, None, :2])  # (T, P, N, 2)
    covers = (off <= parts[:, :, None, 2:4] + 0.25 / side).all(axis=3)
    foremost = parts.shape[1] - 1 - covers[:, ::-1].argmax(axis=1)  # (T, N)
    steps = np.gradient(parts[..., [0, 1, 4, 5]], axis=0)  # (T, P, 4)
    step = np.take_along_axis(steps, foremost[..., None], axis=1)  # (T, N, 4)
    away = (places - np.take_along_axis(parts[..., :2], foremost[..., None], axis=1)) / unit
    grown, turned = step[..., 2], np.radians(step[..., 3])
    field = np.empty((*foremost.shape, FIELD_CHANNELS), np.float32)
    field[..., 0] = covers.any(axis=1)
    moved_x = step[..., 0] + unit[0] * (grown * away[..., 0] - turned * away[..., 1])
    moved_y = step[..., 1] + unit[1] * (grown * away[..., 1] + turned * away[..., 0])
    field[..., 1], field[..., 2] = moved_x / _MOVED, moved_y / _MOVED
    field[..., 3], field[..., 4] = grown / _GROWN, turned / _TURNED
    return field.clip(-_MOST, _MOST)


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


def held_out(
    model: TrainedModel,
    clips: int,
    *,
    seed: int,
    split: str = "held out",
    fps: float | None = None,
) -> DrawnClips:
    """Clips at full difficulty that no training has seen, of the size that a model wants.

    They last as long as the model looks, but 2 s at most: drawn motions are short. Without `fps`
    they are of any camera's.
    """
    spec = model.spec
    return DrawnClips(
        seed=seed,
        split=split,
        first=0,
        last=clips,
        frames=spec.frames,
        size=spec.height,
        patch=model.network.config.patch_size,
        span_s=min(spec.span_s, LONGEST_S),
        fps=fps,
    )
