"""Training clips as a torch dataset; the same SampleKey gives the same clip in any process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model.data.clip_cache import ClipCache
from model.data.examples import Example
from model.data.segments import window_ends
from model.training.augment import Augmentation, augment
from stream.messages import ClipSpec


@dataclass(frozen=True, slots=True)
class LabeledClip:
    """An example and the index of its label."""

    example: Example
    label: int


@dataclass(frozen=True, slots=True)
class SampleKey:
    """Determines a training clip: the index of its example and the augmentation seed."""

    example: int
    seed: tuple[int, ...]


class ClipDataset(Dataset[tuple[Tensor, int]]):
    """Maps a SampleKey to a clip, uint8 (T, H, W, 3), and the index of its label.

    Each clip is a random window of its example, with a random playback speed, crop, color and
    mirroring. `mirror` is the result of `mirrored_labels`.
    """

    def __init__(
        self,
        examples: Sequence[LabeledClip],
        cache: ClipCache,
        spec: ClipSpec,
        augmentation: Augmentation,
        *,
        mirror: Sequence[int | None],
        speed_jitter: float,
    ) -> None:
        self._examples = examples
        self._cache = cache
        self._spec = spec
        self._augmentation = augmentation
        self._mirror = mirror
        self._speed_jitter = speed_jitter

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, int]:
        rng = np.random.default_rng(key.seed)
        labeled = self._examples[key.example]
        segment, label = self._cache.segment(labeled.example), labeled.label
        slowdown = np.exp(rng.uniform(-np.log(self._speed_jitter), np.log(self._speed_jitter)))
        spec = replace(self._spec, span_s=self._spec.span_s * float(slowdown))
        first, last = window_ends(spec, segment.start_s, segment.end_s, segment.video_s)
        clip = segment.clip(spec, rng.uniform(first, last))
        clip = augment(clip, (spec.height, spec.width), self._augmentation, rng)
        mirror = self._mirror[label]
        if self._augmentation.flip and mirror is not None and rng.random() < 0.5:
            clip, label = np.ascontiguousarray(clip[:, :, ::-1]), mirror
        return torch.from_numpy(clip), label


def epoch_order(labels: Sequence[int], *, balance: bool, rng: np.random.Generator) -> list[int]:
    """Random order of one epoch: each clip once, or with `balance` each label equally often.

    An epoch always has as many clips as the data. With `balance`, clips of small classes repeat,
    and large classes are subsampled.
    """
    if not balance:
        return rng.permutation(len(labels)).tolist()
    known, classes = np.array(labels), np.unique(labels)
    chosen: list[np.ndarray] = []
    for index, label in enumerate(rng.permutation(classes)):
        count = len(labels) // len(classes) + (index < len(labels) % len(classes))
        own = np.flatnonzero(known == label)
        rounds = [rng.permutation(own) for _ in range(-(-count // len(own)))]
        chosen.append(np.concatenate(rounds)[:count])
    return rng.permutation(np.concatenate(chosen)).tolist()
