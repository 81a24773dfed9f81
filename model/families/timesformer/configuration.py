"""TimesformerConfig: the architecture of a TimeSformer, with Hugging Face's names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ATTENTION_TYPES = ("divided_space_time", "joint_space_time", "space_only")
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
ACTIVATIONS = ("gelu", "relu", "selu", "gelu_new")


def _checked(default: Any, expected: str, accepts: Callable[[Any], bool]) -> Any:
    """A field whose values must satisfy `accepts`; `expected` describes them in an error."""
    return field(default=default, metadata={"expected": expected, "accepts": accepts})


def _size(default: int) -> Any:
    return _checked(default, "a whole number above 0", lambda one: type(one) is int and one > 0)


def _fraction(default: float) -> Any:
    return _checked(
        default, "a number between 0 and 1", lambda one: _is_number(one) and 0 < one < 1
    )


def _rate(default: float) -> Any:
    return _checked(
        default, "a number from 0 to below 1", lambda one: _is_number(one) and 0 <= one < 1
    )


def _flag(default: bool) -> Any:
    return _checked(default, "true or false", lambda one: isinstance(one, bool))


def _choice(default: str | None, choices: tuple[str, ...]) -> Any:
    allowed = (default, *choices)
    return _checked(default, f"one of {', '.join(choices)}", lambda one: one in allowed)


def _labels() -> Any:
    return _checked(None, "an object", lambda one: one is None or isinstance(one, Mapping))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True)
class TimesformerConfig:
    """The architecture of a TimeSformer, with Hugging Face's names and defaults.

    Give labels as `id2label`, `label2id` or only `num_labels`; the constructor sets all three.
    `problem_type` is None (derived from the labels, see TimesformerForVideoClassification),
    "regression", "single_label_classification" or "multi_label_classification". `extra` holds the
    unknown keys of a `config.json`.
    Raises ValueError, naming the key, for a value that no network can be built from.
    """

    image_size: int = _size(224)
    patch_size: int = _size(16)
    num_channels: int = _size(3)
    num_frames: int = _size(8)
    hidden_size: int = _size(768)
    num_hidden_layers: int = _size(12)
    num_attention_heads: int = _size(12)
    intermediate_size: int = _size(3072)
    hidden_act: str = _choice("gelu", ACTIVATIONS)
    hidden_dropout_prob: float = _rate(0.0)
    attention_probs_dropout_prob: float = _rate(0.0)
    initializer_range: float = _fraction(0.02)
    layer_norm_eps: float = _fraction(1e-6)
    qkv_bias: bool = _flag(True)
    attention_type: str = _choice("divided_space_time", ATTENTION_TYPES)
    drop_path_rate: float = _rate(0)  # transformers rejects 0.0 here
    id2label: Mapping[int, str] | None = _labels()
    label2id: Mapping[str, int] | None = _labels()
    num_labels: int | None = None
    problem_type: str | None = _choice(None, PROBLEM_TYPES)
    output_attentions: bool = _flag(False)
    output_hidden_states: bool = _flag(False)
    return_dict: bool = _flag(True)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            value, rule = getattr(self, one.name), one.metadata
            if rule and not rule["accepts"](value):
                raise ValueError(f"{one.name} must be {rule['expected']}, got {value!r}")
        for larger, smaller in (
            ("hidden_size", "num_attention_heads"),
            ("image_size", "patch_size"),
        ):
            if getattr(self, larger) % getattr(self, smaller):
                raise ValueError(
                    f"{larger} ({getattr(self, larger)}) must be a multiple of "
                    f"{smaller} ({getattr(self, smaller)})"
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

    def _label_names(self) -> dict[int, str]:
        numbered = self.id2label
        if numbered is None and self.label2id is not None:
            numbered = {index: name for name, index in self.label2id.items()}
        if numbered is None:
            count = 2 if self.num_labels is None else self.num_labels
            if type(count) is not int or count < 1:
                raise ValueError(f"num_labels must be a whole number above 0, got {count!r}")
            numbered = {index: f"LABEL_{index}" for index in range(count)}
        try:
            names = {int(index): str(name) for index, name in numbered.items()}
        except (ValueError, TypeError) as error:
            raise ValueError(f"labels must be numbered 0, 1, 2, ...: {error}") from error
        if sorted(names) != list(range(len(names))) or not names:
            raise ValueError("labels must be numbered 0, 1, 2, ... without gaps")
        return names
