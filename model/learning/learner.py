"""One epoch of training: its clips, its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from model.checkpoint import CheckpointError
from model.learning.augment import Augmentation, mirrored
from model.learning.clip_cache import ClipCache
from model.learning.clips import Labelled, TrainingClips, epoch_order, one_thread
from model.learning.optimiser import Averaged, make_optimiser, set_rate
from model.learning.recipe import Recipe
from model.learning.team import Team
from model.preprocess import normalise
from model.torch_engine import multiplies_bf16
from model.trained import TrainedModel

_MOST_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an epoch is."""

    epoch: int  # from 1
    step: int  # batches of this epoch that are done
    steps: int
    loss: float  # mean of the latest


class Learner:
    """A network that learns: with its optimiser, and the average of its weights."""

    def __init__(self, model: TrainedModel, recipe: Recipe, team: Team) -> None:
        self.model = model
        self.network = model.network.to(team.device).train()
        self.optimiser = make_optimiser(self.network, recipe)
        self.averaged = Averaged(self.network, recipe.ema)
        self._recipe, self._team = recipe, team
        self._wrapped = team.wrap(self.network)

    def learn(
        self,
        epoch: int,
        examples: Sequence[Labelled],
        cache: ClipCache,
        progress: Callable[[Progress], None] = lambda state: None,
    ) -> tuple[float, float]:
        """One epoch, numbered from 0.

        Returns the mean loss, and the share of the time in which clips were waited for. Raises
        CheckpointError where the network diverges.
        """
        recipe = self._recipe
        rng = np.random.default_rng((recipe.seed, epoch, self._team.rank, 1))
        torch.manual_seed(int(rng.integers(2**31)))
        loader = _loader(epoch, self.model, examples, cache, recipe, self._team)
        losses: list[float] = []
        began = ready = time.perf_counter()
        waited_s = 0.0
        for number, (frames, labels) in enumerate(loader):
            waited_s += time.perf_counter() - ready
            last = (number + 1) % recipe.accumulate == 0 or number + 1 == len(loader)
            with self._team.quiet(self._wrapped, last):
                losses.append(self._backward(frames, labels, rng))
            if last:
                set_rate(self.optimiser, recipe, (epoch + number / len(loader)) / recipe.epochs)
                norm = nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm)
                if not norm.isfinite():  # with several processes it is the same in all of them
                    raise CheckpointError(
                        f"in epoch {epoch + 1} the gradients are no numbers any more; take a lower "
                        f"rate than {recipe.rate:g}"
                    )
                self.optimiser.step()
                self.optimiser.zero_grad()
                self.averaged.update(self.network)
            progress(Progress(epoch + 1, number + 1, len(loader), float(np.mean(losses[-50:]))))
            ready = time.perf_counter()
        return float(np.mean(losses)), waited_s / (time.perf_counter() - began)

    def _backward(self, frames: Tensor, labels: Tensor, rng: np.random.Generator) -> float:
        """The gradients of a batch, added to those that there are. Returns the loss."""
        device, recipe = self._team.device, self._recipe
        pixels = normalise(frames.to(device), self.model.mean, self.model.std)
        wanted = F.one_hot(labels.to(device), len(self.model.spec.labels)).float()
        pixels, wanted = mix(pixels, wanted, recipe.mixup, rng)
        with torch.autocast(device.type, torch.bfloat16, enabled=_bf16(recipe, device)):
            logits = self._wrapped(pixels, return_dict=False)[0]
        loss = F.cross_entropy(logits.float(), wanted, label_smoothing=recipe.smoothing)
        (loss / recipe.accumulate).backward()
        return loss.item()


def mix(
    pixels: Tensor, wanted: Tensor, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Each clip with some of another one, and the answers likewise (mixup, arXiv 1710.09412)."""
    if not alpha:
        return pixels, wanted
    share = float(rng.beta(alpha, alpha))
    other = torch.from_numpy(rng.permutation(len(pixels))).to(pixels.device)
    return pixels.lerp(pixels[other], 1 - share), wanted.lerp(wanted[other], 1 - share)


def _bf16(recipe: Recipe, device: torch.device) -> bool:
    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return multiplies_bf16()


def _loader(
    epoch: int,
    model: TrainedModel,
    examples: Sequence[Labelled],
    cache: ClipCache,
    recipe: Recipe,
    team: Team,
) -> DataLoader[Any]:
    """The clips of an epoch that are this process's, in batches."""
    order = epoch_order(
        [one.label for one in examples],
        balance=recipe.balance,
        rng=np.random.default_rng((recipe.seed, epoch)),
    )
    own = max(1, len(order) // team.size)  # as many for each, for they wait for each other
    clips = TrainingClips(
        examples,
        cache,
        order[team.rank * own :][:own],
        model.spec,
        Augmentation(recipe.crop, recipe.colour, recipe.flip),
        mirror=mirrored(model.spec.labels),
        speed=recipe.speed,
        seed=(recipe.seed, epoch, team.rank),
    )
    # On a CPU they would take the cores from the network.
    workers = 0 if team.device.type == "cpu" else min(_MOST_WORKERS, team.cores)
    if recipe.workers != "auto":
        workers = recipe.workers
    return DataLoader(
        clips,
        recipe.batch,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=one_thread,
        pin_memory=team.device.type == "cuda",
    )
