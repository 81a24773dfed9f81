"""What a model family is, and the registry of families, by `model_type` of config.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


class ClassifierConfig(Protocol):
    """The part of config.json that every family has."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def num_frames(self) -> int: ...

    @property
    def image_size(self) -> int: ...

    @property
    def num_channels(self) -> int: ...

    @property
    def problem_type(self) -> str | None: ...

    @property
    def extra(self) -> Mapping[str, Any]:
        """Keys of the file that belong to no other field."""

    def to_dict(self) -> dict[str, Any]: ...


class VideoClassifier(Protocol):
    """A network of a family; an nn.Module."""

    @property
    def config(self) -> ClassifierConfig: ...

    def logits(self, pixels: Tensor) -> Tensor:
        """Normalized pixels, float (batch, T, 3, H, W) -> logits (batch, labels)."""


@dataclass(frozen=True)
class InferenceOptions:
    """How an engine wants a network to be built. A family may ignore what it has no use for."""

    dtype: torch.dtype
    linear_factory: LinearFactory  # for the layers that do most of the work
    exact_linear_factory: LinearFactory  # for layers that don't tolerate 8-bit quantization
    fastest_attention: Callable[[tuple[int, ...]], AttentionFn]  # by (..., heads, tokens, size)


class ModelFamily(Protocol):
    """A kind of network."""

    def load(self, folder: Path) -> VideoClassifier:
        """Read a Hugging Face folder. Raises CheckpointError, naming the file and the fix."""

    def for_inference(self, model: TrainedModel, options: InferenceOptions) -> nn.Module:
        """uint8 clips (batch, T, H, W, 3) -> logits, float32 (batch, labels)."""


FAMILIES: Registry[ModelFamily] = Registry("model family", "model.families")
