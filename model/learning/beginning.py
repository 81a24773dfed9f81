"""The network that learning begins with: another checkpoint's layers, a new classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from model.checkpoint import CheckpointError
from model.learning.first_weights import know_place_and_time
from model.timesformer import TimesformerForVideoClassification
from model.trained import TrainedModel


def beginning(
    init: TrainedModel,
    name: str,
    labels: Sequence[str],
    *,
    background: Sequence[str] = (),
    drop_path: float = 0.0,
    scratch: bool = False,
    seed: int = 0,
) -> TrainedModel:
    """A model of these labels that sees clips as `init` does, with its layers if not `scratch`.

    The classifier is new. Raises CheckpointError for a background label that there is not.
    """
    if unknown := set(background) - set(labels):
        raise CheckpointError(
            f"background: no clips are labelled {', '.join(sorted(unknown))}; the labels are "
            f"{', '.join(labels)}"
        )
    config = replace(
        init.network.config,
        id2label=dict(enumerate(labels)),
        label2id=None,
        num_labels=None,
        problem_type=None,
        drop_path_rate=drop_path,
        extra={},
    )
    torch.manual_seed(seed)
    network = TimesformerForVideoClassification(config)
    if not scratch:
        network.timesformer.load_state_dict(init.network.timesformer.state_dict())
    elif config.attention_type == "divided_space_time" and config.num_attention_heads > 2:
        know_place_and_time(network.timesformer)
    spec = replace(init.spec, model=name, labels=tuple(labels), background=frozenset(background))
    return TrainedModel(network, spec, init.mean, init.std)


def free(network: TimesformerForVideoClassification, layers: str | int) -> None:
    """Let "all" of a network learn, its "head", or so many of its last layers with it."""
    body = network.timesformer
    if layers == "all":
        network.requires_grad_(True)
        return
    network.requires_grad_(False)
    parts: list[nn.Module] = [network.classifier]
    if isinstance(layers, int):
        parts += [body.norm, *list(body.blocks)[-layers:]]
    for part in parts:
        part.requires_grad_(True)
