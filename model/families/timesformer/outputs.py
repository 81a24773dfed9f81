"""Outputs of the networks: named values that also unpack as a tuple, as in transformers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor


class _TupleLike:
    """Unpacks as a tuple of the fields that are not None, in their order."""

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(value for value in vars(self).values() if value is not None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_tuple())

    def __len__(self) -> int:
        return len(self.to_tuple())

    def __getitem__(self, key: int | slice | str) -> Any:
        return getattr(self, key) if isinstance(key, str) else self.to_tuple()[key]


@dataclass(frozen=True)
class ModelOutput(_TupleLike):
    """Output of TimesformerModel for T frames of N patches.

    last_hidden_state: (batch, 1 + N * T, hidden), after the last norm; the class token, then the
        patches, ordered by position, then by frame. With "space_only" attention the mean over the
        frames: (batch, 1 + N, hidden).
    hidden_states: the embeddings, then the output of each layer, before the last norm; with
        "space_only" (batch * T, 1 + N, hidden). None if not requested.
    attentions: spatial attention of each layer, (batch * T, heads, 1 + N, 1 + N); with
        "joint_space_time" (batch, heads, 1 + N * T, 1 + N * T). None if not requested.
    """

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class ClassifierOutput(_TupleLike):
    """Output of TimesformerForVideoClassification: loss (), if labels were given, and logits
    (batch, labels); hidden states and attentions as in ModelOutput."""

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
