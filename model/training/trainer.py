"""A network that learns, epoch by epoch: its clips, its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from model.checkpoint import CheckpointError
from model.data.clip_cache import ClipCache
from model.engines.torch_engine import computes_bf16
from model.preprocess import normalise
from model.trained_model import TrainedModel
from model.training.augment import Augmentation, mirrored
from model.training.dataset import Labelled, Lot, TrainingClips, epoch_order
from model.training.distributed import Team
from model.training.finetune_init import set_learning
from model.training.loader import make_loader
from model.training.optimizer import Averaged, make_optimiser, set_rate
from model.training.train_config import Recipe


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an epoch is."""

    epoch: int  # from 1
    step: int  # batches of this epoch that are done
    steps: int
    loss: float  # mean of the latest


class Learner:
    """A network that learns: with its optimiser, and the average of its weights."""

    def __init__(
        self,
        model: TrainedModel,
        examples: Sequence[Labelled],
        cache: ClipCache,
        recipe: Recipe,
        team: Team,
    ) -> None:
        self.model = model
        self.network = model.network.to(team.device)
        self.optimiser = make_optimiser(self.network, recipe)
        self.averaged = Averaged(self.network, recipe.ema)
        self._examples, self._cache, self._recipe, self._team = examples, cache, recipe, team
        self._wrapped = team.wrap(self.network)
        # As many for each process, for they wait for each other.
        self._steps = -(-max(1, len(examples) // team.size) // team.part(recipe.batch))
        self._coming: Iterator[tuple[Tensor, Tensor]] | None = None  # batches, up to the last epoch

    def learn(
        self, epoch: int, progress: Callable[[Progress], None] = lambda state: None
    ) -> tuple[float, float]:
        """One epoch, numbered from 0; after it the next one.

        Returns the mean loss, and the share of the time in which clips were waited for. Raises
        CheckpointError where the network diverges.
        """
        recipe, steps = self._recipe, self._steps
        rng = np.random.default_rng((recipe.seed, epoch, self._team.rank, 1))
        torch.manual_seed(int(rng.integers(2**31)))
        set_learning(self.network)
        losses: list[float] = []
        began = time.perf_counter()
        waited_s = 0.0
        if self._coming is None:
            self._coming = iter(self._loader(epoch))
        for number in range(steps):
            asked = time.perf_counter()
            frames, labels = next(self._coming)
            waited_s += time.perf_counter() - asked
            first = number - number % recipe.accumulate  # of those that make one step
            together = min(recipe.accumulate, steps - first)
            last = number + 1 == first + together
            with self._team.quiet(self._wrapped, last):
                losses.append(self._backward(frames, labels, rng, 1 / together))
            if last:
                set_rate(self.optimiser, recipe, (epoch + first / steps) / recipe.epochs)
                norm = nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm)
                if not norm.isfinite():  # with several processes it is the same in all of them
                    raise CheckpointError(
                        f"in epoch {epoch + 1} the gradients are no numbers any more; take a lower "
                        f"rate than {recipe.rate:g}"
                    )
                self.optimiser.step()
                self.optimiser.zero_grad()
                self.averaged.update(self.network)
            progress(Progress(epoch + 1, number + 1, steps, float(np.mean(losses[-50:]))))
        return float(np.mean(losses)), waited_s / (time.perf_counter() - began)

    def _backward(
        self, frames: Tensor, labels: Tensor, rng: np.random.Generator, weight: float
    ) -> float:
        """The gradients of a batch, weighted, added to those that there are. Returns the loss."""
        device, recipe = self._team.device, self._recipe
        frames = frames.to(device, non_blocking=True)
        pixels = normalise(frames, self.model.mean, self.model.std)
        wanted = F.one_hot(labels.to(device), len(self.model.spec.labels)).float()
        pixels, wanted = mix(pixels, wanted, recipe.mixup, rng)
        bf16 = precision(recipe, device) == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = self._wrapped(pixels, return_dict=False)[0]
        loss = F.cross_entropy(logits.float(), wanted, label_smoothing=recipe.smoothing)
        (loss * weight).backward()
        return loss.item()

    def _loader(self, first: int) -> DataLoader[Any]:
        """This process's clips of all epochs from the first on, in batches.

        One for all of them: where processes make clips ready, they begin with the next epoch's
        while the network is measured.
        """
        recipe, team, spec = self._recipe, self._team, self.model.spec
        clips = TrainingClips(
            self._examples,
            self._cache,
            spec,
            Augmentation(recipe.crop, recipe.colour, recipe.flip),
            mirror=mirrored(spec.labels),
            speed=recipe.speed,
        )
        batches = _Batches(self._examples, recipe, team, first)
        return make_loader(clips, team, workers=recipe.workers, batch_sampler=batches)


class _Batches:
    """Of all epochs from the first on, the lots of each batch that this process has a part in."""

    def __init__(
        self, examples: Sequence[Labelled], recipe: Recipe, team: Team, first: int
    ) -> None:
        self._labels = [one.label for one in examples]
        self._recipe, self._team, self._first = recipe, team, first

    def __iter__(self) -> Iterator[list[Lot]]:
        recipe, team = self._recipe, self._team
        for epoch in range(self._first, recipe.epochs):
            rng = np.random.default_rng((recipe.seed, epoch))
            order = epoch_order(self._labels, balance=recipe.balance, rng=rng)
            lots = [Lot(one, (recipe.seed, epoch, place)) for place, one in enumerate(order)]
            # Of each batch of the team every process has its share.
            own = team.share(lots)[: max(1, len(lots) // team.size)]
            size = team.part(recipe.batch)
            yield from (list(own[at : at + size]) for at in range(0, len(own), size))


def mix(
    pixels: Tensor, wanted: Tensor, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Each clip with some of another one, and the answers likewise (mixup, arXiv 1710.09412)."""
    if not alpha:
        return pixels, wanted
    share = float(rng.beta(alpha, alpha))
    other = torch.from_numpy(rng.permutation(len(pixels))).to(pixels.device)
    return pixels.lerp(pixels[other], 1 - share), wanted.lerp(wanted[other], 1 - share)


def precision(recipe: Recipe, device: torch.device) -> str:
    """What the network computes in on this device: "bf16" or "fp32"."""
    if recipe.precision != "auto":
        return recipe.precision
    return "bf16" if computes_bf16(device) else "fp32"
