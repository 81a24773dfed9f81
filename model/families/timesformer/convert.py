"""Convert checkpoints of the TimeSformer authors (.pyth) to trained models.

Their code: github.com/facebookresearch/TimeSformer. Sizes and attention type are read from the
tensors; the other values (heads, span, mean and std) are those of the published models.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from model.checkpoint import (
    AUTHORS,
    CheckpointError,
    build_on_meta,
    is_state_dict,
    load_tensors,
    read_pickle,
    tensor_names,
)
from model.families.timesformer.configuration import TimesformerConfig
from model.families.timesformer.network import TimesformerForVideoClassification
from model.trained_model import MEAN, STD, TrainedModel, published_span
from stream.messages import ClipSpec

_HEAD_SIZE = 64  # hidden units per attention head, in every published model
_WRAPPERS = ("model_state", "state_dict", "model", "module")  # keys that hold the state dict
_PREFIX = re.compile(r"^(module\.)?(model\.)?")


def convert(
    file: Path,
    *,
    name: str,
    labels: tuple[str, ...] | None = None,
    span_s: float | None = None,
    heads: int | None = None,
) -> TrainedModel:
    """Read a .pyth file. `labels` are in the order of the logits, by default LABEL_0, LABEL_1, ...

    Raises CheckpointError, naming the file and its tensors, for any other file.
    """
    tensors = _tensors(file)
    config = _config(file, tensors, labels, heads)
    network = build_on_meta(TimesformerForVideoClassification, config, file)
    load_tensors(network, tensors, file, tensor_names(network, AUTHORS))
    try:
        spec = ClipSpec(
            model=name,
            labels=config.labels,
            background=frozenset(),
            frames=config.num_frames,
            span_s=published_span(config) if span_s is None else span_s,
            height=config.image_size,
            width=config.image_size,
            shortest_edge=config.image_size,
        )
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from error
    return TrainedModel(network, spec, MEAN, STD)


def read_labels(file: Path) -> tuple[str, ...]:
    """The lines of a text file. Raises CheckpointError for an empty or duplicate line."""
    try:
        labels = file.read_text(encoding="utf-8-sig").strip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} can't be read as a text of labels ({error})") from error
    labels = [label.strip() for label in labels]
    for number, label in enumerate(labels, start=1):
        if not label:
            raise CheckpointError(f"{file} line {number} is empty; write one label per line")
        if label in labels[: number - 1]:
            raise CheckpointError(f"{file} line {number}: {label!r} is a duplicate; remove it")
    return tuple(labels)


def _tensors(file: Path) -> dict[str, Tensor]:
    """The file's tensors under the authors' names."""
    values = read_pickle(file)
    for wrapper in _WRAPPERS:
        if isinstance(values, dict) and isinstance(values.get(wrapper), dict):
            values = values[wrapper]
    if not is_state_dict(values):
        raise CheckpointError(
            f"{file} must hold tensors by name, at the top level or under {', '.join(_WRAPPERS)}"
        )
    tensors = {_PREFIX.sub("", key): value for key, value in values.items()}
    if len(tensors) < len(values):
        raise CheckpointError(f"{file} has tensor names that differ only by a `model.` prefix")
    return tensors


def _config(
    file: Path, tensors: Mapping[str, Tensor], labels: tuple[str, ...] | None, heads: int | None
) -> TimesformerConfig:
    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in tensors or tensors[name].ndim != dimensions:
            raise CheckpointError(
                f"{file} has no tensor {name} of {dimensions} dimensions; "
                "give a checkpoint of the TimeSformer authors' code"
            )
        return tuple(tensors[name].shape)

    hidden, channels, patch, _ = shape("patch_embed.proj.weight", 4)
    patches = shape("pos_embed", 3)[1] - 1
    side = math.isqrt(max(0, patches))
    if side * side != patches:
        raise CheckpointError(f"{file}: pos_embed has {patches} patches, expected a square number")
    count = shape("head.weight", 2)[0]
    if labels is not None and len(labels) != count:
        raise CheckpointError(f"{file} has {count} labels, but {len(labels)} were given")
    blocks = {match[1] for key in tensors if (match := re.match(r"blocks\.(\d+)\.", key))}
    divided = any(".temporal_attn." in key for key in tensors)
    with_time = "divided_space_time" if divided else "joint_space_time"
    config = TimesformerConfig()
    try:
        return replace(
            config,
            image_size=side * patch,
            patch_size=patch,
            num_channels=channels,
            # Without time embeddings any number works; the paper uses the default.
            num_frames=shape("time_embed", 3)[1] if "time_embed" in tensors else config.num_frames,
            hidden_size=hidden,
            num_hidden_layers=len(blocks),
            num_attention_heads=heads or max(1, hidden // _HEAD_SIZE),
            intermediate_size=shape("blocks.0.mlp.fc1.weight", 2)[0],
            qkv_bias="blocks.0.attn.qkv.bias" in tensors,
            attention_type=with_time if "time_embed" in tensors else "space_only",
            id2label=dict(enumerate(labels)) if labels else None,
            label2id=None,
            num_labels=count,
        )
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from error
