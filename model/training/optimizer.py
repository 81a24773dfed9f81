"""AdamW with layer-wise learning rate decay, warmup and cosine schedule, and an EMA of weights."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model.families.timesformer.network import TimesformerForVideoClassification
from model.training.train_config import TrainConfig

_BLOCK = re.compile(r"timesformer\.blocks\.(\d+)\.")


def make_optimizer(
    network: TimesformerForVideoClassification, config: TrainConfig
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters, with layer-wise learning rate decay.

    Each layer's rate is `layer_decay` times that of the layer above (BEiT, arXiv 2106.08254).
    """
    depth = len(network.timesformer.blocks)
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = (_layer_index(name, depth), has_weight_decay(name, parameter))
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr_scale": config.layer_decay ** (depth + 1 - layer),
                "weight_decay": config.weight_decay if decays else 0.0,
            }
            for (layer, decays), parameters in sorted(groups.items(), key=lambda group: group[0])
        ],
        lr=config.lr,
        betas=(0.9, 0.98),
    )


def set_lr(optimizer: torch.optim.Optimizer, config: TrainConfig, progress: float) -> None:
    """Set each group's learning rate; `progress` is the fraction of all steps that are done."""
    factor = lr_factor(progress, config.warmup)
    for group in optimizer.param_groups:
        group["lr"] = config.lr * factor * group["lr_scale"]


def lr_factor(progress: float, warmup: float) -> float:
    """Factor of the learning rate: linear warmup, then half a cosine down to 1 %."""
    if progress < warmup:
        return max(0.01, progress / warmup)
    rest = (progress - warmup) / max(1e-9, 1 - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * rest))


def has_weight_decay(name: str, parameter: Tensor) -> bool:
    """True for matrices; biases, norms and embeddings don't decay, as usual for transformers."""
    return parameter.ndim == 2 or "projection.weight" in name


def make_ema(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights, which generalizes better than the last step's.

    The decay rises over the first steps, so the initial weights are soon forgotten.
    """

    def average(averages: Any, weights: Any, count: Tensor | int) -> None:
        steps = int(count)
        get_ema_multi_avg_fn(min(decay, steps / (10 + steps)))(averages, weights, count)

    ema = AveragedModel(network, multi_avg_fn=average)
    ema.n_averaged += 1  # the initial weights, which the first step would replace otherwise
    return ema


def _layer_index(name: str, depth: int) -> int:
    """0 for the embeddings, 1 to depth for the blocks, depth + 1 for the norm and the head."""
    if found := _BLOCK.match(name):
        return int(found[1]) + 1
    return depth + 1 if name.startswith(("timesformer.norm", "classifier")) else 0
