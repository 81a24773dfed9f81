"""What a model family is, and the registry of families, by `model_type` of config.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from stream.runtime.registry import Registry

if TYPE_CHECKING:
    from model.trained_model import TrainedModel

# Query (already scaled), key and value, each (..., heads, tokens, size) -> the same shape.
AttentionFn = Callable[[Tensor, Tensor, Tensor], Tensor]
# (weight (outputs, inputs), bias (outputs,) or None, number of rows of x) -> layer.
LinearFactory = Callable[[Tensor, "Tensor | None", int], nn.Module]


class VideoClassifier(Protocol):
    """A network of a family; an nn.Module."""

    @property
    def config(self) -> Any:
        """Has `labels`, `num_frames`, `image_size`, `num_channels` and `problem_type` as in
        TimesformerConfig, `extra`, the other keys of config.json, and `to_dict()`."""

    def logits(self, pixels: Tensor) -> Tensor:
        """Normalized pixels, float (batch, T, 3, H, W) -> logits (batch, labels)."""


@dataclass(frozen=True)
class InferenceOptions:
    """How an engine wants a network to be built. A family may ignore what it has no use for."""

    dtype: torch.dtype
    linear_factory: LinearFactory  # for the layers that do most of the work
    exact_linear_factory: LinearFactory  # for layers that don't tolerate 8-bit quantization
    fastest_attention: Callable[[tuple[int, ...]], AttentionFn]  # by (..., heads, tokens, size)


@dataclass(frozen=True)
class ModelFamily:
    """A kind of network.

    `load` reads a Hugging Face folder; it raises CheckpointError, naming the file and the fix.
    `for_inference` builds the network that an engine runs: uint8 clips (batch, T, H, W, 3) ->
    logits, float32 (batch, labels).
    `check_config` raises CheckpointError for a folder whose `config.json` can't be used; it is
    called before the weights are downloaded.
    """

    load: Callable[[Path], VideoClassifier]
    for_inference: Callable[[TrainedModel, InferenceOptions], nn.Module]
    check_config: Callable[[Path], object] = lambda folder: None


FAMILIES: Registry[ModelFamily] = Registry("model family", "model.families")
