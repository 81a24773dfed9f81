"""TimesformerConfig: the architecture of a TimeSformer, with Hugging Face's names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ATTENTION_TYPES = ("divided_space_time", "joint_space_time", "space_only")
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
ACTIVATIONS = ("gelu", "relu", "selu", "gelu_new")

_SIZES = (
    "image_size",
    "patch_size",
    "num_channels",
    "num_frames",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)
_RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate")
_POSITIVE_FRACTIONS = ("layer_norm_eps", "initializer_range")
_FLAGS = ("qkv_bias", "output_attentions", "output_hidden_states", "return_dict")


@dataclass(frozen=True)
class TimesformerConfig:
    """The architecture of a TimeSformer, with Hugging Face's names and defaults.

    Give labels as `id2label`, `label2id` or only `num_labels`; the constructor sets all three.
    `problem_type` is None (derived from the labels, see TimesformerForVideoClassification),
    "regression", "single_label_classification" or "multi_label_classification". `extra` holds the
    unknown keys of a `config.json`.
    Raises ValueError, naming the key, for a value that no network can be built from.
    """

    image_size: int = 224
    patch_size: int = 16
    num_channels: int = 3
    num_frames: int = 8
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-6
    qkv_bias: bool = True
    attention_type: str = "divided_space_time"
    drop_path_rate: float = 0  # transformers rejects 0.0 here
    id2label: Mapping[int, str] | None = None
    label2id: Mapping[str, int] | None = None
    num_labels: int | None = None
    problem_type: str | None = None
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in _SIZES:
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{key} must be a whole number above 0, got {value!r}")
        for key in _POSITIVE_FRACTIONS:
            if not _is_number(value := getattr(self, key)) or not 0 < value < 1:
                raise ValueError(f"{key} must be a number between 0 and 1, got {value!r}")
        for key in _RATES:
            if not _is_number(value := getattr(self, key)) or not 0 <= value < 1:
                raise ValueError(f"{key} must be a number from 0 to below 1, got {value!r}")
        for key in _FLAGS:
            if not isinstance(value := getattr(self, key), bool):
                raise ValueError(f"{key} must be true or false, got {value!r}")
        self._check_choice("attention_type", ATTENTION_TYPES)
        self._check_choice("hidden_act", ACTIVATIONS)
        for larger, smaller in (
            ("hidden_size", "num_attention_heads"),
            ("image_size", "patch_size"),
        ):
            if getattr(self, larger) % getattr(self, smaller):
                raise ValueError(
                    f"{larger} ({getattr(self, larger)}) must be a multiple of "
                    f"{smaller} ({getattr(self, smaller)})"
                )
        if self.problem_type not in (None, *PROBLEM_TYPES):
            raise ValueError(
                f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, got {self.problem_type!r}"
            )
        names = self._label_names()
        if self.num_labels not in (None, len(names)) or isinstance(self.num_labels, bool):
            raise ValueError(
                f"num_labels is {self.num_labels!r}, but there are {len(names)} labels"
            )
        object.__setattr__(self, "id2label", names)
        object.__setattr__(self, "label2id", {name: index for index, name in names.items()})
        object.__setattr__(self, "num_labels", len(names))

    @property
    def patches_per_frame(self) -> int:
        return (self.image_size // self.patch_size) ** 2

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the order of the logits."""
        assert self.id2label is not None  # see __post_init__
        return tuple(self.id2label[index] for index in range(len(self.id2label)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TimesformerConfig:
        """Read the values of a Hugging Face `config.json`; unknown keys go to `extra`."""
        known = {spec.name for spec in dataclasses.fields(cls)} - {"extra"}
        extra = {key: value for key, value in values.items() if key not in known}
        return cls(**{key: values[key] for key in values if key in known}, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """The values of a Hugging Face `config.json`."""
        values = {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self)}
        extra = values.pop("extra")
        del values["num_labels"]  # transformers derives it, and warns if both are given
        values["drop_path_rate"] = self.drop_path_rate or 0  # not 0.0, see the field
        values["id2label"] = {str(index): name for index, name in values["id2label"].items()}
        standard = {
            "model_type": "timesformer",
            "architectures": ["TimesformerForVideoClassification"],
        }
        return {**standard, **extra, **values}

    def _check_choice(self, key: str, choices: tuple[str, ...]) -> None:
        if getattr(self, key) not in choices:
            raise ValueError(
                f"{key} must be one of {', '.join(choices)}, got {getattr(self, key)!r}"
            )

    def _label_names(self) -> dict[int, str]:
        for key in ("id2label", "label2id"):
            if not isinstance(getattr(self, key), (Mapping, type(None))):
                raise ValueError(f"{key} must be an object, got {getattr(self, key)!r}")
        if self.id2label is not None or self.label2id is not None:
            numbered = (
                self.id2label.items()
                if self.id2label is not None
                else ((index, name) for name, index in (self.label2id or {}).items())
            )
            try:
                names = {int(index): str(name) for index, name in numbered}
            except (ValueError, TypeError) as error:
                raise ValueError(f"labels must be numbered 0, 1, 2, ...: {error}") from error
        else:
            count = 2 if self.num_labels is None else self.num_labels
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ValueError(f"num_labels must be a whole number above 0, got {count!r}")
            names = {index: f"LABEL_{index}" for index in range(count)}
        if sorted(names) != list(range(len(names))) or not names:
            raise ValueError("labels must be numbered 0, 1, 2, ... without gaps")
        return names


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
