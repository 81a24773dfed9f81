"""Synthetic clips as a torch dataset: clip i of a seed is always the same clip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model.evaluation.corruptions import CORRUPTIONS, corrupted
from model.trained_model import TrainedModel
from stream.messages import ClipSpec
from stream.synthetic.clips import MAX_SPAN_S, draw_clip
from stream.synthetic.motions import MOTIONS, REVERSED

# Splits use independent random streams.
SPLITS = {"train": 1, "held out": 2, "calibration": 3}
FIELD_CHANNELS = 5
_REVERSED_LABEL = torch.tensor([MOTIONS.index(REVERSED.get(name, name)) for name in MOTIONS])
# Scale of a typical motion per frame: fraction of the frame, growth (natural log), radians.
_SHIFT_SCALE, _GROWTH_SCALE, _ROTATION_SCALE = 0.06, 0.1, 0.4
_MAX_MOTION = 4.0  # in these scales; faster motion is clipped
_CORRUPTED = 0.4  # fraction of training clips at full difficulty with an additional corruption


@dataclass(frozen=True, eq=False)
class SyntheticClips(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Clips of a split by number, all of one difficulty, in the size and span of `spec`.

    All splits have camera faults; some training clips also have one of CORRUPTIONS. Without `fps`
    each clip has a random frame rate.
    Each item is a clip, uint8 (T, H, W, 3), its label, and the motion field: float32
    (T, side * side, 5), for each patch whether an actor covers it, and that actor's motion at this
    patch (x, y) and as a whole (growth, rotation), in typical steps. The field ignores occlusion by
    the foreground: motion behind a post can be inferred.
    """

    spec: ClipSpec
    patch: int  # pixels
    numbers: range
    seed: int
    split: str  # a key of SPLITS
    difficulty: float = 1.0
    fps: float | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, Tensor]:
        spec = self.spec
        rng = np.random.default_rng((self.seed, SPLITS[self.split], self.numbers[item]))
        clip = draw_clip(
            rng,
            frames=spec.frames,
            size=spec.height,
            span_s=spec.span_s,
            difficulty=self.difficulty,
            fps=self.fps,
        )
        field = motion_field(clip.parts, clip.unit, spec.height // self.patch)
        frames = clip.frames
        if self.split == "train" and rng.random() < _CORRUPTED * self.difficulty:
            frames = corrupted(str(rng.choice(list(CORRUPTIONS))), frames, rng, rng.random())
        return torch.from_numpy(frames), torch.tensor(clip.label), torch.from_numpy(field)


def motion_field(parts: np.ndarray, unit: np.ndarray, side: int) -> np.ndarray:
    """The motion of each patch: float32 (T, side * side, 5), see SyntheticClips.

    `parts` (T, P, 6) and `unit` (2,) are those of a DrawnClip; `side` is patches per row.
    """
    centers = (np.arange(side) + 0.5) / side
    y, x = np.meshgrid(centers, centers, indexing="ij")
    points = np.stack([x.ravel(), y.ravel()], axis=1)  # (N, 2)
    distance = np.abs(points[None, None] - parts[:, :, None, :2])  # (T, P, N, 2)
    covers = (distance <= parts[:, :, None, 2:4] + 0.25 / side).all(axis=3)
    front = parts.shape[1] - 1 - covers[:, ::-1].argmax(axis=1)  # (T, N)
    motions = np.gradient(parts[..., [0, 1, 4, 5]], axis=0)  # (T, P, 4)
    motion = np.take_along_axis(motions, front[..., None], axis=1)  # (T, N, 4)
    offset = (points - np.take_along_axis(parts[..., :2], front[..., None], axis=1)) / unit
    growth, rotation = motion[..., 2], np.radians(motion[..., 3])
    field = np.empty((*front.shape, FIELD_CHANNELS), np.float32)
    field[..., 0] = covers.any(axis=1)
    shift_x = motion[..., 0] + unit[0] * (growth * offset[..., 0] - rotation * offset[..., 1])
    shift_y = motion[..., 1] + unit[1] * (growth * offset[..., 1] + rotation * offset[..., 0])
    field[..., 1], field[..., 2] = shift_x / _SHIFT_SCALE, shift_y / _SHIFT_SCALE
    field[..., 3], field[..., 4] = growth / _GROWTH_SCALE, rotation / _ROTATION_SCALE
    return field.clip(-_MAX_MOTION, _MAX_MOTION)


def with_reversed(frames: Tensor, labels: Tensor, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of SyntheticClips followed by the same clips in reverse order.

    A pair differs only in frame order, which a network learns last: without pairs it learns the
    axis of a motion long before its direction.
    """
    reversed_field = field.flip(1)
    reversed_field[..., 1:] *= -1
    return (
        torch.cat([frames, frames.flip(1)]),
        torch.cat([labels, _REVERSED_LABEL[labels]]),
        torch.cat([field, reversed_field]),
    )


def held_out(
    model: TrainedModel,
    clips: int,
    *,
    seed: int,
    split: str = "held out",
    fps: float | None = None,
) -> SyntheticClips:
    """Clips at full difficulty that are not in the training split, with the model's input size.

    They last as long as the model's span, but at most 2 s: synthetic motions are short.
    """
    spec = replace(model.spec, span_s=min(model.spec.span_s, MAX_SPAN_S))
    patch = model.network.config.patch_size
    return SyntheticClips(spec, patch, range(clips), seed, split, fps=fps)
