"""TimeSformer in plain torch: divided, joint and space-only attention over space and time.

Bertasius, Wang, Torresani, "Is Space-Time Attention All You Need for Video Understanding?",
arXiv 2102.05095. Configuration keys are those of Hugging Face's TimesformerConfig.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ATTENTION_TYPES = ("divided_space_time", "joint_space_time", "space_only")


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "selu": F.selu,
    "gelu_new": _gelu_tanh,
}


@dataclass(frozen=True)
class TimesformerConfig:
    """The shape of a TimeSformer, with Hugging Face's names and defaults.

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
    drop_path_rate: float = 0  # transformers takes no 0.0 here
    id2label: dict[int, str] = field(default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"})

    def __post_init__(self) -> None:
        for key in (
            "image_size",
            "patch_size",
            "num_channels",
            "num_frames",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
        ):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{key} must be a whole number above 0, got {value!r}")
        for key in ("layer_norm_eps", "initializer_range"):
            value = getattr(self, key)
            if not isinstance(value, (int, float)) or not 0 < value < 1:
                raise ValueError(f"{key} must be a number between 0 and 1, got {value!r}")
        for key in ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"):
            value = getattr(self, key)
            if not isinstance(value, (int, float)) or not 0 <= value < 1:
                raise ValueError(f"{key} must be a number from 0 to below 1, got {value!r}")
        if self.attention_type not in ATTENTION_TYPES:
            raise ValueError(
                f"attention_type must be one of {', '.join(ATTENTION_TYPES)}, "
                f"got {self.attention_type!r}"
            )
        if self.hidden_act not in _ACTIVATIONS:
            raise ValueError(
                f"hidden_act must be one of {', '.join(_ACTIVATIONS)}, got {self.hidden_act!r}"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be a multiple of "
                f"num_attention_heads ({self.num_attention_heads})"
            )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size ({self.image_size}) must be a multiple of "
                f"patch_size ({self.patch_size})"
            )

    @property
    def patches_per_frame(self) -> int:
        return (self.image_size // self.patch_size) ** 2

    @property
    def labels(self) -> tuple[str, ...]:
        """The label names, in the order of the logits."""
        return tuple(self.id2label[index] for index in range(len(self.id2label)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TimesformerConfig:
        """Take the keys that concern the network from a Hugging Face `config.json`."""
        known = {spec.name for spec in dataclasses.fields(cls)} - {"id2label"}
        taken = {key: value for key, value in values.items() if key in known}
        if "id2label" in values:
            if not isinstance(values["id2label"], dict):
                raise ValueError('id2label must be an object like {"0": "walk"}')
            names = {int(index): str(name) for index, name in values["id2label"].items()}
            if sorted(names) != list(range(len(names))):
                raise ValueError("id2label must number the labels 0, 1, 2, ... without gaps")
            taken["id2label"] = names
        elif "num_labels" in values:
            taken["id2label"] = {i: f"LABEL_{i}" for i in range(int(values["num_labels"]))}
        return cls(**taken)

    def to_dict(self) -> dict[str, Any]:
        """What Hugging Face's `config.json` holds."""
        values = dataclasses.asdict(self)
        values["id2label"] = {str(index): name for index, name in self.id2label.items()}
        values["label2id"] = {name: index for index, name in self.id2label.items()}
        values["model_type"] = "timesformer"
        values["architectures"] = ["TimesformerForVideoClassification"]
        return values


class DropPath(nn.Module):
    """Leaves out a residual branch for a random share of the samples while training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0.0 or not self.training:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty(x.shape[0], *([1] * (x.ndim - 1))).bernoulli_(keep)
        return x * mask / keep


class Attention(nn.Module):
    """Multi-head self-attention over the last but one axis of (batch, tokens, hidden)."""

    def __init__(self, config: TimesformerConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.project = nn.Linear(config.hidden_size, config.hidden_size)
        self.attention_dropout = config.attention_probs_dropout_prob
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, hidden = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, hidden // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        rate = self.attention_dropout if self.training else 0.0
        plain = tokens <= 32 or torch.is_grad_enabled()
        if x.device.type == "cpu" and plain and rate == 0.0:
            # There the fused kernel is slow for the many short sequences of temporal attention,
            # and its backward pass takes half of a training step.
            scores = (query * (hidden // self.heads) ** -0.5) @ key.transpose(-2, -1)
            mixed = scores.softmax(dim=-1) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        return self.dropout(self.project(mixed.transpose(1, 2).reshape(batch, tokens, hidden)))


class Mlp(nn.Module):
    def __init__(self, config: TimesformerConfig) -> None:
        super().__init__()
        self.widen = nn.Linear(config.hidden_size, config.intermediate_size)
        self.narrow = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = _ACTIVATIONS[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.dropout(self.activation(self.widen(x)))))


class Block(nn.Module):
    """One layer: attention over space (and, divided, first over time), then an MLP.

    Tokens are the class token (batch, hidden) and the patches (batch, frames, patches, hidden).
    """

    def __init__(self, config: TimesformerConfig, drop_path: float) -> None:
        super().__init__()
        self.attention_type = config.attention_type
        hidden, eps = config.hidden_size, config.layer_norm_eps
        if self.attention_type == "divided_space_time":
            self.temporal_norm = nn.LayerNorm(hidden, eps=eps)
            self.temporal_attention = Attention(config)
            self.temporal_project = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, eps=eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(hidden, eps=eps)
        self.mlp = Mlp(config)
        self.drop_path = DropPath(drop_path)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        batch, frames, count, hidden = patches.shape
        if self.attention_type == "divided_space_time":
            patches = patches + self._temporal(patches)
            # The class token looks at each frame by itself; its answers are averaged.
            tokens = torch.cat([cls[:, None, None].expand(-1, frames, 1, -1), patches], dim=2)
            mixed = self._spatial(tokens.flatten(0, 1)).view(batch, frames, 1 + count, hidden)
            cls = cls + mixed[:, :, 0].mean(dim=1)
            patches = patches + mixed[:, :, 1:]
        else:
            tokens = torch.cat([cls[:, None], patches.flatten(1, 2)], dim=1)
            mixed = self._spatial(tokens)
            cls = cls + mixed[:, 0]
            patches = patches + mixed[:, 1:].view_as(patches)
        tokens = torch.cat([cls[:, None], patches.flatten(1, 2)], dim=1)
        tokens = tokens + self.drop_path(self.mlp(self.mlp_norm(tokens)))
        return tokens[:, 0], tokens[:, 1:].view_as(patches)

    def _temporal(self, patches: Tensor) -> Tensor:
        batch, frames, count, hidden = patches.shape
        tokens = patches.transpose(1, 2).reshape(batch * count, frames, hidden)
        mixed = self.drop_path(self.temporal_attention(self.temporal_norm(tokens)))
        mixed = self.temporal_project(mixed)
        return mixed.view(batch, count, frames, hidden).transpose(1, 2)

    def _spatial(self, tokens: Tensor) -> Tensor:
        return self.drop_path(self.attention(self.attention_norm(tokens)))


class TimesformerModel(nn.Module):
    """The network without its classifier.

    `forward` takes pixels (batch, frames, channels, height, width), normalised, and returns
    the class token (batch, hidden) and the patches (batch, frames, patches, hidden), normed.
    """

    def __init__(self, config: TimesformerConfig) -> None:
        super().__init__()
        self.config = config
        size, hidden = config.patch_size, config.hidden_size
        self.patch_projection = nn.Conv2d(config.num_channels, hidden, size, stride=size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, hidden))
        self.position = nn.Parameter(torch.zeros(1, 1 + config.patches_per_frame, hidden))
        if config.attention_type != "space_only":
            self.time = nn.Parameter(torch.zeros(1, config.num_frames, hidden))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        depth = config.num_hidden_layers
        rates = torch.linspace(0, config.drop_path_rate, depth).tolist()
        self.blocks = nn.ModuleList(Block(config, rate) for rate in rates)
        self.norm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
        self.apply(self._initialise)
        for parameter in (self.cls_token, self.position):
            nn.init.trunc_normal_(parameter, std=config.initializer_range)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def embed(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Class token (batch, hidden) and patches (batch, frames, patches, hidden)."""
        config = self.config
        expected = (config.num_frames, config.num_channels, config.image_size, config.image_size)
        if pixels.ndim != 5 or tuple(pixels.shape[1:]) != expected:
            raise ValueError(
                f"pixel values must be (batch, {', '.join(map(str, expected))}), "
                f"got {tuple(pixels.shape)}"
            )
        batch, frames = pixels.shape[:2]
        patches = self.patch_projection(pixels.flatten(0, 1)).flatten(2).transpose(1, 2)
        patches = patches.view(batch, frames, -1, config.hidden_size) + self.position[:, None, 1:]
        cls = (self.cls_token + self.position[:, :1])[:, 0].expand(batch, -1)
        patches = self.dropout(patches)
        if config.attention_type != "space_only":
            patches = self.dropout(patches + self.time[:, :, None])
        return self.dropout(cls), patches

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        cls, patches = self.embed(pixels)
        if self.config.attention_type == "space_only":
            return self._frame_by_frame(cls, patches)
        for block in self.blocks:
            cls, patches = block(cls, patches)
        return self.norm(cls), self.norm(patches)

    def _frame_by_frame(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Each frame by itself; the class tokens are averaged before the last norm.

        That mean is in the original code; transformers 5.23 leaves it out.
        """
        batch, frames = patches.shape[:2]
        cls = cls.repeat_interleave(frames, dim=0)
        patches = patches.flatten(0, 1)[:, None]
        for block in self.blocks:
            cls, patches = block(cls, patches)
        cls = cls.view(batch, frames, -1).mean(dim=1)
        return self.norm(cls), self.norm(patches[:, 0].view(batch, frames, -1, cls.shape[-1]))


class TimesformerForVideoClassification(nn.Module):
    """The network with a linear classifier on the class token: logits (batch, labels)."""

    def __init__(self, config: TimesformerConfig) -> None:
        super().__init__()
        self.config = config
        self.timesformer = TimesformerModel(config)
        self.classifier = nn.Linear(config.hidden_size, len(config.id2label))
        nn.init.trunc_normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classifier(self.timesformer(pixels)[0])
