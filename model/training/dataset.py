"""Training clips as a torch dataset; the same SampleKey gives the same clip in any process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model.data.clip_cache import ClipCache
from model.data.examples import Example
from model.data.segments import window_ends
from model.training.augment import augment, mirrored_labels
from model.training.train_config import TrainConfig
from stream.messages import ClipSpec


@dataclass(frozen=True, slots=True)
class SampleKey:
    """Determines a training clip: the index of its example and the augmentation seed."""

    example: int
    seed: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ClipDataset(Dataset[tuple[Tensor, int]]):
    """Maps a SampleKey to a clip, uint8 (T, H, W, 3), and the index of its label in `spec`.

    Each clip is a random window of its example, with a random playback speed, crop, color and
    mirroring.
    """

    examples: Sequence[Example]
    cache: ClipCache
    spec: ClipSpec
    config: TrainConfig

    @cached_property
    def _mirrored(self) -> list[int | None]:
        return mirrored_labels(self.spec.labels)

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, int]:
        rng = np.random.default_rng(key.seed)
        config, example = self.config, self.examples[key.example]
        segment, label = self.cache.segment(example), self.spec.labels.index(example.label)
        jitter = np.log(config.speed_jitter)
        slowdown = np.exp(rng.uniform(-jitter, jitter))
        spec = replace(self.spec, span_s=self.spec.span_s * float(slowdown))
        first, last = window_ends(spec, segment.start_s, segment.end_s, segment.video_s)
        clip = segment.clip(spec, rng.uniform(first, last))
        clip = augment(clip, (spec.height, spec.width), config, rng)
        mirrored = self._mirrored[label]
        if config.flip and mirrored is not None and rng.random() < 0.5:
            clip, label = np.ascontiguousarray(clip[:, :, ::-1]), mirrored
        return torch.from_numpy(clip), label


def epoch_order(labels: np.ndarray, *, balance: bool, rng: np.random.Generator) -> list[int]:
    """Random order of one epoch: each clip once, or with `balance` each label equally often.

    An epoch always has as many clips as the data. With `balance`, clips of small classes repeat,
    and large classes are subsampled.
    """
    if not balance:
        return rng.permutation(len(labels)).tolist()
    classes = np.unique(labels)
    chosen: list[np.ndarray] = []
    for index, label in enumerate(rng.permutation(classes)):
        count = len(labels) // len(classes) + (index < len(labels) % len(classes))
        own = np.flatnonzero(labels == label)
        rounds = [rng.permutation(own) for _ in range(-(-count // len(own)))]
        chosen.append(np.concatenate(rounds)[:count])
    return rng.permutation(np.concatenate(chosen)).tolist()
