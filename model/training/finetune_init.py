"""The network that learning begins with: another checkpoint's layers, a new classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from model.checkpoint import CheckpointError
from model.families.timesformer.network import TimesformerForVideoClassification
from model.trained_model import TrainedModel
from model.training.init_weights import know_place_and_time


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

    The classifier is new.
    """
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
    spec = replace(
        init.spec, model=name, labels=tuple(labels), background=frozenset(background) & set(labels)
    )
    return TrainedModel(network, spec, init.mean, init.std)


def with_clips(
    init: TrainedModel,
    *,
    size: int | None = None,
    frames: int | None = None,
    span_s: float | None = None,
) -> TrainedModel:
    """A model that sees larger pictures, more of them or longer clips; None is as before.

    Embeddings of places and times are interpolated, as is usual for finer grids (Dosovitskiy et
    al. 2020, arXiv 2010.11929); all else is as `init` has it. Raises CheckpointError for a size
    that is no multiple of its patches.
    """
    before, spec = init.network.config, init.spec
    size, frames = size or spec.height, frames or spec.frames
    if size % before.patch_size:
        raise CheckpointError(
            f"size: must be a multiple of the patches' {before.patch_size} pixels, got {size}"
        )
    weights = dict(init.network.state_dict())
    side, key = size // before.patch_size, "timesformer.position"
    if size != before.image_size:
        old = before.image_size // before.patch_size
        cls, patches = weights[key][:, :1], weights[key][:, 1:]
        grid = patches.transpose(1, 2).unflatten(2, (old, old))
        grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
        weights[key] = torch.cat([cls, grid.flatten(2).transpose(1, 2)], dim=1)
    if frames != before.num_frames and "timesformer.time" in weights:
        times = weights["timesformer.time"].transpose(1, 2)
        times = F.interpolate(times, size=frames, mode="linear", align_corners=False)
        weights["timesformer.time"] = times.transpose(1, 2)
    network = TimesformerForVideoClassification(replace(before, image_size=size, num_frames=frames))
    network.load_state_dict(weights)
    try:
        wanted = replace(
            spec,
            frames=frames,
            span_s=span_s or spec.span_s,
            height=size,
            width=size,
            shortest_edge=round(spec.shortest_edge * size / spec.height),
        )
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    return replace(init, network=network, spec=wanted)


def set_learning(network: TimesformerForVideoClassification) -> None:
    """Training mode for what may learn: frozen layers see clips as they will afterwards."""
    network.train()
    body = network.timesformer
    body.dropout.train(body.position.requires_grad)
    for block in body.blocks:
        block.train(any(parameter.requires_grad for parameter in block.parameters()))


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
