"""Trains a network epoch by epoch: batches, steps, mixup, mixed precision."""

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

from model.data.clip_cache import ClipCache
from model.data.examples import Example, label_indices
from model.engines.torch_engine import computes_bf16
from model.trained_model import TrainedModel, normalize
from model.training.dataset import ClipDataset, SampleKey, epoch_order
from model.training.distributed import DistributedContext, TrainingError
from model.training.finetune_init import set_train_mode
from model.training.loader import make_loader
from model.training.optimizer import make_ema, make_optimizer, set_lr
from model.training.train_config import TrainConfig


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress within an epoch."""

    epoch: int  # from 1
    step: int  # finished batches of this epoch
    steps: int
    loss: float  # mean of the latest batches


class Trainer:
    """A network in training, with its optimizer and the moving average of its weights."""

    def __init__(
        self,
        model: TrainedModel,
        examples: Sequence[Example],
        cache: ClipCache,
        config: TrainConfig,
        context: DistributedContext,
    ) -> None:
        self.model = model
        self.network = model.network.to(context.device)
        self.optimizer = make_optimizer(self.network, config)
        self.ema = make_ema(self.network, config.ema)
        self._examples, self._cache = examples, cache
        self._config, self._context = config, context
        self._wrapped = context.wrap(self.network)
        # The same number on each rank, for they wait for each other.
        batch_size = context.per_rank_batch(config.batch_size)
        self._steps = -(-max(1, len(examples) // context.size) // batch_size)
        self._batches: Iterator[tuple[Tensor, Tensor]] | None = None  # up to the last epoch

    def train_epoch(
        self, epoch: int, on_step: Callable[[Progress], None] = lambda progress: None
    ) -> tuple[float, float]:
        """Train one epoch, numbered from 0; epochs must follow each other.

        Returns the mean loss, and the fraction of the time spent waiting for clips. Raises
        TrainingError if the network diverges.
        """
        config, steps = self._config, self._steps
        rng = np.random.default_rng((config.seed, epoch, self._context.rank, 1))
        torch.manual_seed(int(rng.integers(2**31)))
        set_train_mode(self.network)
        losses: list[float] = []
        started = time.perf_counter()
        waited_s = 0.0
        if self._batches is None:
            self._batches = iter(self._loader(epoch))
        for batch in range(steps):
            wait_started = time.perf_counter()
            frames, labels = next(self._batches)
            waited_s += time.perf_counter() - wait_started
            first = batch - batch % config.grad_accumulation_steps  # batch of this optimizer step
            accumulated = min(config.grad_accumulation_steps, steps - first)
            last = batch + 1 == first + accumulated
            with self._context.no_sync(self._wrapped, last):
                losses.append(self._backward(frames, labels, rng, 1 / accumulated))
            if last:
                set_lr(self.optimizer, config, (epoch + first / steps) / config.epochs)
                norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
                if not norm.isfinite():  # the norm is the same on all ranks
                    raise TrainingError(
                        f"epoch {epoch + 1}: gradients became NaN/inf; use a lower learning rate "
                        f"than {config.lr:g}"
                    )
                self.optimizer.step()
                self.optimizer.zero_grad()
                self.ema.update_parameters(self.network)
            on_step(Progress(epoch + 1, batch + 1, steps, float(np.mean(losses[-50:]))))
        return float(np.mean(losses)), waited_s / (time.perf_counter() - started)

    def _backward(
        self, frames: Tensor, labels: Tensor, rng: np.random.Generator, weight: float
    ) -> float:
        """Add a batch's weighted gradients to the accumulated ones. Returns the loss."""
        device, config = self._context.device, self._config
        frames = frames.to(device, non_blocking=True)
        pixels = normalize(frames, self.model.mean, self.model.std)
        targets = F.one_hot(labels.to(device), len(self.model.spec.labels)).float()
        pixels, targets = mixup(pixels, targets, config.mixup, rng)
        bf16 = resolve_precision(config, device) == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = self._wrapped(pixels, return_dict=False)[0]
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=config.label_smoothing)
        (loss * weight).backward()
        return loss.item()

    def _loader(self, first_epoch: int) -> DataLoader[Any]:
        """This rank's batches of all epochs from `first_epoch` on.

        One loader for all epochs: its workers prepare the next epoch during validation.
        """
        clips = ClipDataset(self._examples, self._cache, self.model.spec, self._config)
        return make_loader(
            clips,
            self._context,
            num_workers=self._config.num_workers,
            batch_sampler=self._batch_keys(first_epoch),
        )

    def _batch_keys(self, first_epoch: int) -> Iterator[list[SampleKey]]:
        """The sample keys of this rank's batches, for all epochs from `first_epoch` on."""
        config, context = self._config, self._context
        size = context.per_rank_batch(config.batch_size)
        labels = label_indices(self._examples, self.model.spec.labels)
        for epoch in range(first_epoch, config.epochs):
            rng = np.random.default_rng((config.seed, epoch))
            order = epoch_order(labels, balance=config.balance, rng=rng)
            keys = [SampleKey(one, (config.seed, epoch, at)) for at, one in enumerate(order)]
            own = context.shard(keys)[: max(1, len(keys) // context.size)]
            yield from (list(own[at : at + size]) for at in range(0, len(own), size))


def mixup(
    pixels: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Blend each clip with another one, and their targets likewise (mixup, arXiv 1710.09412)."""
    if not alpha:
        return pixels, targets
    weight = float(rng.beta(alpha, alpha))
    other = torch.from_numpy(rng.permutation(len(pixels))).to(pixels.device)
    return pixels.lerp(pixels[other], 1 - weight), targets.lerp(targets[other], 1 - weight)


def resolve_precision(config: TrainConfig, device: torch.device) -> str:
    """The precision of the network's computations on this device: "bf16" or "fp32"."""
    if config.precision != "auto":
        return config.precision
    return "bf16" if computes_bf16(device) else "fp32"
