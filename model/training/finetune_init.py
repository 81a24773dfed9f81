"""The initial network for fine-tuning: another checkpoint's layers and a new classifier head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from model.families.timesformer.network import TimesformerForVideoClassification
from model.trained_model import TrainedModel
from model.training.distributed import TrainingError
from model.training.init_weights import mimetic_init


def check_trainable(model: TrainedModel) -> None:
    """Raise TrainingError for a model of another family than TimeSformer."""
    if model.family != "timesformer":
        raise TrainingError(
            f"training needs a TimeSformer; the model {model.spec.model} is of the family "
            f"{model.family}"
        )


def new_head(
    init: TrainedModel,
    name: str,
    labels: Sequence[str],
    *,
    background: Sequence[str] = (),
    drop_path: float = 0.0,
    scratch: bool = False,
    seed: int = 0,
) -> TrainedModel:
    """A model with the input of `init`, a new classifier for `labels`, and the layers of `init`.

    With `scratch` the layers are newly initialized, too.
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
        mimetic_init(network.timesformer)
    spec = replace(
        init.spec, model=name, labels=tuple(labels), background=frozenset(background) & set(labels)
    )
    return TrainedModel(network, spec, init.mean, init.std)


def with_input_shape(
    init: TrainedModel,
    *,
    size: int | None = None,
    frames: int | None = None,
    span_s: float | None = None,
) -> TrainedModel:
    """The model with another frame size, frame count or clip length; None keeps that of `init`.

    Position and time embeddings are interpolated (Dosovitskiy et al. 2020, arXiv 2010.11929).
    Raises TrainingError for a size that is not a multiple of the patch size.
    """
    old_config, spec = init.network.config, init.spec
    size, frames = size or spec.height, frames or spec.frames
    if size % old_config.patch_size:
        raise TrainingError(
            f"size: must be a multiple of the patches' {old_config.patch_size} pixels, got {size}"
        )
    weights = dict(init.network.state_dict())
    side, key = size // old_config.patch_size, "timesformer.position"
    if size != old_config.image_size:
        old_side = old_config.image_size // old_config.patch_size
        cls, patches = weights[key][:, :1], weights[key][:, 1:]
        grid = patches.transpose(1, 2).unflatten(2, (old_side, old_side))
        grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
        weights[key] = torch.cat([cls, grid.flatten(2).transpose(1, 2)], dim=1)
    if frames != old_config.num_frames and "timesformer.time" in weights:
        times = weights["timesformer.time"].transpose(1, 2)
        times = F.interpolate(times, size=frames, mode="linear", align_corners=False)
        weights["timesformer.time"] = times.transpose(1, 2)
    network = TimesformerForVideoClassification(
        replace(old_config, image_size=size, num_frames=frames)
    )
    network.load_state_dict(weights)
    try:
        new_spec = replace(
            spec,
            frames=frames,
            span_s=span_s or spec.span_s,
            height=size,
            width=size,
            shortest_edge=round(spec.shortest_edge * size / spec.height),
        )
    except ValueError as error:
        raise TrainingError(str(error)) from error
    return replace(init, network=network, spec=new_spec)


def set_train_mode(network: TimesformerForVideoClassification) -> None:
    """Training mode for trainable layers; frozen layers stay in inference mode."""
    network.train()
    body = network.timesformer
    body.dropout.train(body.position.requires_grad)
    for block in body.blocks:
        block.train(any(parameter.requires_grad for parameter in block.parameters()))


def freeze_except(network: TimesformerForVideoClassification, layers: str | int) -> None:
    """Freeze all but `layers`: "all", the "head", or the head and the last `layers` blocks."""
    body = network.timesformer
    if layers == "all":
        network.requires_grad_(True)
        return
    network.requires_grad_(False)
    trainable: list[nn.Module] = [network.classifier]
    if isinstance(layers, int):
        trainable += [body.norm, *list(body.blocks)[-layers:]]
    for module in trainable:
        module.requires_grad_(True)
