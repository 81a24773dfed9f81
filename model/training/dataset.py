"""Training clips as a torch data set: what is drawn by the same lot is the same clip anywhere."""

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
class Labelled:
    """An example, and the number of its label."""

    example: Example
    label: int


@dataclass(frozen=True, slots=True)
class Lot:
    """What a training clip depends on."""

    example: int
    seed: tuple[int, ...]


class TrainingClips(Dataset[tuple[Tensor, int]]):
    """A clip for each Lot: uint8 (T, H, W, 3) with the number of the label.

    Each is a window of an example as a watch might cut it, somewhat faster or slower, cropped,
    coloured and mirrored. `mirror` says what each label is in a mirror, see `mirrored`.
    """

    def __init__(
        self,
        examples: Sequence[Labelled],
        cache: ClipCache,
        spec: ClipSpec,
        change: Augmentation,
        *,
        mirror: Sequence[int | None],
        speed: float,
    ) -> None:
        self._examples = examples
        self._cache = cache
        self._spec = spec
        self._change = change
        self._mirror = mirror
        self._speed = speed

    def __getitem__(self, lot: Lot) -> tuple[Tensor, int]:
        rng = np.random.default_rng(lot.seed)
        one = self._examples[lot.example]
        take, label = self._cache.take(one.example), one.label
        slower = np.exp(rng.uniform(-np.log(self._speed), np.log(self._speed)))
        spec = replace(self._spec, span_s=self._spec.span_s * float(slower))
        first, last = window_ends(spec, take.start_s, take.end_s, take.film_s)
        clip = take.clip(spec, rng.uniform(first, last))
        clip = augment(clip, (spec.height, spec.width), self._change, rng)
        image = self._mirror[label]
        if self._change.flip and image is not None and rng.random() < 0.5:
            clip, label = np.ascontiguousarray(clip[:, :, ::-1]), image
        return torch.from_numpy(clip), label


def epoch_order(labels: Sequence[int], *, balance: bool, rng: np.random.Generator) -> list[int]:
    """Which clips an epoch takes, in order: each once, or with `balance` each label as often.

    An epoch is always as long as the data; with `balance` clips of small classes come several
    times, and of large ones not all come in each epoch.
    """
    if not balance:
        return rng.permutation(len(labels)).tolist()
    known, numbers = np.array(labels), np.unique(labels)
    chosen: list[np.ndarray] = []
    for place, label in enumerate(rng.permutation(numbers)):
        count = len(labels) // len(numbers) + (place < len(labels) % len(numbers))
        own = np.flatnonzero(known == label)
        rounds = [rng.permutation(own) for _ in range(-(-count // len(own)))]
        chosen.append(np.concatenate(rounds)[:count])
    return rng.permutation(np.concatenate(chosen)).tolist()
