"""How weights change: AdamW, each layer at its own rate, warm-up and cosine, averaged weights."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.families.timesformer.network import TimesformerForVideoClassification
from model.training.train_config import Recipe

_LAYER = re.compile(r"timesformer\.blocks\.(\d+)\.")


def make_optimiser(network: TimesformerForVideoClassification, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over what may learn. Layers learn `layer_decay` times slower, each than the next.

    As BEiT does, arXiv 2106.08254: what a network knows already is in its early layers.
    """
    depth = len(network.timesformer.blocks)
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = (_height(name, depth), decays(name, parameter))
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "share": recipe.layer_decay ** (depth + 1 - height),
                "weight_decay": recipe.weight_decay if decaying else 0.0,
            }
            for (height, decaying), parameters in sorted(groups.items(), key=lambda group: group[0])
        ],
        lr=recipe.rate,
        betas=(0.9, 0.98),
    )


def set_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, share: float) -> None:
    """The learning rate of each layer, at this share of all steps."""
    factor = rate_factor(share, recipe.warmup)
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate * factor * group["share"]


def rate_factor(share: float, warmup: float) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to 1 %."""
    if share < warmup:
        return max(0.01, share / warmup)
    rest = (share - warmup) / max(1e-9, 1 - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * rest))


def decays(name: str, parameter: Tensor) -> bool:
    """Matrices decay; biases, norms and embeddings don't, as usual for transformers."""
    return parameter.ndim == 2 or "projection.weight" in name


class Averaged:
    """Weights averaged over the latest steps (exponentially), which judge better than any of them.

    The average begins with the first steps, not with what was there before them.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.steps = 0
        self.weights = {key: value.detach().clone() for key, value in network.state_dict().items()}

    def load(self, weights: Mapping[str, Tensor], steps: int) -> None:
        """Go on from an average that was kept."""
        self.steps = steps
        for key, value in weights.items():
            self.weights[key].copy_(value)

    def copy(self) -> dict[str, Tensor]:
        return {key: value.cpu().clone() for key, value in self.weights.items()}

    def update(self, network: nn.Module) -> None:
        self.steps += 1
        decay = min(self._decay, self.steps / (10 + self.steps))
        for key, value in network.state_dict().items():
            self.weights[key].lerp_(value.detach(), 1 - decay)


def _height(name: str, depth: int) -> int:
    """0 for the embeddings, then the layers, depth + 1 for what comes after them."""
    if found := _LAYER.match(name):
        return int(found[1]) + 1
    return depth + 1 if name.startswith(("timesformer.norm", "classifier")) else 0
