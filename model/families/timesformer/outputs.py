"""What the networks return: named values that also unpack as a tuple, as transformers' do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor


class _Unpacks:
    """Reads as a tuple of the fields that are not None, in their order."""

    def to_tuple(self) -> tuple[Any, ...]:
        values = [getattr(self, spec.name) for spec in fields(self)]  # type: ignore[arg-type]
        return tuple(value for value in values if value is not None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_tuple())

    def __len__(self) -> int:
        return len(self.to_tuple())

    def __getitem__(self, key: int | slice | str) -> Any:
        return getattr(self, key) if isinstance(key, str) else self.to_tuple()[key]


@dataclass(frozen=True)
class ModelOutput(_Unpacks):
    """Of TimesformerModel. Frames are T, patches of a frame N.

    last_hidden_state: (batch, 1 + N * T, hidden), normed; the class token, then the patches, place
        by place, each in the order of its frames. With "space_only" attention the mean over the
        frames: (batch, 1 + N, hidden).
    hidden_states: the embeddings and what each layer gave, before the last norm, in that order;
        with "space_only" (batch * T, 1 + N, hidden). None if not asked for.
    attentions: each layer's attention over space, (batch * T, heads, 1 + N, 1 + N); with
        "joint_space_time" (batch, heads, 1 + N * T, 1 + N * T). None if not asked for.
    """

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class ClassifierOutput(_Unpacks):
    """Of TimesformerForVideoClassification: loss (), where there were labels, and logits
    (batch, labels); hidden states and attentions as in ModelOutput."""

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
