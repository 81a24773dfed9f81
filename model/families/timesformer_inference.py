"""TimeSformer rewritten for inference: the same logits with less work.

Exact savings over `model/families/timesformer/network.py`:
- the temporal attention's two projections in a row are folded into one matrix;
- the classifier sees only the class token, so the last layer computes query, projection and MLP
  only for it. With a single query, keys and values need no separate products either: q (W x) is
  (W^T q) x, and a weighted mean of W x is W of the weighted mean;
- pixel normalization is folded into the patch projection, whose input is uint8;
- the attention scale is folded into the query weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from model.checkpoint import read_config
from model.engines.linear import PlainLinear
from model.families.base import (
    FAMILIES,
    AttentionFn,
    InferenceOptions,
    LinearFactory,
    ModelFamily,
)
from model.families.timesformer.network import Attention as TrainedAttention
from model.families.timesformer.network import Block as TrainedBlock
from model.families.timesformer.network import TimesformerForVideoClassification
from model.trained_model import TrainedModel


class InferenceNetwork(nn.Module):
    """uint8 clips (batch, T, H, W, 3) -> logits, float32 (batch, labels).

    Tokens are (sequences, T, 1 + patches, hidden), with a copy of the class token in front of each
    frame. With joint attention all patches form one frame; with space-only attention each frame is
    a separate sequence.
    """

    embeddings: Tensor  # of position and time, (1, T or 1, patches, hidden)
    cls: Tensor  # (1, 1, 1, hidden)

    def __init__(self, model: TrainedModel, options: InferenceOptions) -> None:
        super().__init__()
        network, config, frames = model.network.timesformer, model.network.config, model.spec.frames
        self.attention_type = config.attention_type
        self.patch = config.patch_size
        self.dtype = dtype = options.dtype
        tokens = 1 + config.patches_per_frame
        rows = frames * tokens
        weight, bias = _pixel_weights(model, dtype)
        self.project = options.exact_linear_factory(weight, bias, rows)
        with torch.no_grad():
            embeddings = network.position[:, None, 1:]
            if config.attention_type != "space_only":
                embeddings = embeddings + network.time[:, :, None]
            self.register_buffer("embeddings", embeddings.to(dtype))
            cls = network.cls_token + network.position[:, :1]
            self.register_buffer("cls", cls[:, None].to(dtype))
        heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        joint_shape = (1, heads, 1 + frames * config.patches_per_frame, size)
        is_joint = config.attention_type == "joint_space_time"
        layer = _LayerOptions(
            dtype,
            rows,
            options.linear_factory,
            options.fastest_attention((tokens, heads, frames, size)),
            options.fastest_attention(joint_shape if is_joint else (frames, heads, tokens, size)),
        )
        *blocks, last = cast("list[TrainedBlock]", list(network.blocks))
        self.blocks = nn.ModuleList(_Block(block, layer) for block in blocks)
        self.last = _LastBlock(last, layer)
        self.norm = _norm(network.norm, torch.float32)
        head = model.network.classifier
        self.classify = PlainLinear(head.weight.detach(), head.bias.detach(), 1)

    def forward(self, clips: Tensor) -> Tensor:
        batch, frames = clips.shape[:2]
        x = self._embed(clips)
        for block in self.blocks:
            x = block(x)
        cls = self.last(x)
        if self.attention_type == "space_only":
            cls = cls.unflatten(0, (batch, frames)).mean(dim=1)
        return self.classify(self.norm(cls.float()))

    def _embed(self, clips: Tensor) -> Tensor:
        """The input tokens of the first layer."""
        batch, frames, height, width, channels = clips.shape
        size = self.patch
        rows, columns = height // size, width // size
        grid = clips.view(batch, frames, rows, size, columns, size, channels)
        pixels = grid.permute(0, 1, 2, 4, 3, 5, 6).reshape(batch, frames, rows * columns, -1)
        x = self.project(pixels.to(self.dtype)) + self.embeddings
        if self.attention_type == "joint_space_time":
            x = x.flatten(1, 2)[:, None]
        elif self.attention_type == "space_only":
            x = x.flatten(0, 1)[:, None]
        return torch.cat([self.cls.expand(len(x), x.shape[1], 1, -1), x], dim=2)


@dataclass(frozen=True)
class _LayerOptions:
    """How layers are built."""

    dtype: torch.dtype
    rows: int  # tokens per clip
    linear_factory: LinearFactory
    temporal_attention: AttentionFn
    spatial_attention: AttentionFn

    def linear(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        bias = None if bias is None else bias.to(self.dtype)
        return self.linear_factory(weight.to(self.dtype), bias, self.rows)


class _TemporalAttention(nn.Module):
    """Each patch attends to the same position in all frames."""

    def __init__(self, block: TrainedBlock, options: _LayerOptions) -> None:
        super().__init__()
        attention = block.temporal_attention
        self.heads, self.attend = attention.heads, options.temporal_attention
        self.norm = _norm(block.temporal_norm, options.dtype)
        self.qkv = options.linear(*_scaled_qkv(attention))
        with torch.no_grad():  # two linear maps in a row are one
            first, second = attention.project, block.temporal_project
            weight = second.weight.double() @ first.weight.double()
            bias = second.weight.double() @ first.bias.double() + second.bias.double()
        self.project = options.linear(weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        cls = x[:, :, 0].clone()  # excluded from temporal attention; restored below
        sequences, frames, tokens, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(sequences, frames, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(3, 0, 2, 4, 1, 5).unbind(0)
        mixed = self.attend(query, key, value).permute(0, 3, 1, 2, 4).reshape(x.shape)
        x = self.project(mixed, residual=x)
        x[:, :, 0] = cls
        return x


class _Block(nn.Module):
    """A layer: temporal attention (divided only), spatial or joint attention, MLP."""

    def __init__(self, block: TrainedBlock, options: _LayerOptions) -> None:
        super().__init__()
        self.temporal_attention = _temporal_attention(block, options)
        self.heads, self.attend = block.attention.heads, options.spatial_attention
        self.norm = _norm(block.attention_norm, options.dtype)
        self.qkv = options.linear(*_scaled_qkv(block.attention))
        self.project = options.linear(*_weights(block.attention.project))
        self.mlp = _Mlp(block, options)

    def forward(self, x: Tensor) -> Tensor:
        x = self.temporal_attention(x)
        sequences, frames, tokens, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(sequences * frames, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = self.attend(query, key, value).transpose(1, 2).reshape(x.shape)
        x = self.project(mixed, residual=x)
        if frames > 1:  # the class token attended to each frame separately; average the results
            x[:, :, 0] = x[:, :, 0].mean(dim=1, keepdim=True)
        return self.mlp(x)


class _LastBlock(nn.Module):
    """The last layer, for the class token only: (sequences, T, 1 + patches, hidden) -> (sequences,
    hidden)."""

    query: Tensor  # (heads, size, hidden)
    key: Tensor  # (heads, size, hidden)
    value: Tensor  # (heads, size, hidden)
    query_bias: Tensor  # (heads, size)
    value_bias: Tensor  # (heads, size)

    def __init__(self, block: TrainedBlock, options: _LayerOptions) -> None:
        super().__init__()
        self.temporal_attention = _temporal_attention(block, options)
        attention = block.attention
        self.norm = _norm(block.attention_norm, options.dtype)
        weight, bias = _scaled_qkv(attention)
        bias = torch.zeros(len(weight)) if bias is None else bias
        for name, part, added in zip(
            ("query", "key", "value"), weight.chunk(3), bias.chunk(3), strict=True
        ):
            part = part.to(options.dtype).unflatten(0, (attention.heads, -1))
            self.register_buffer(name, part)
            # The key bias adds the same value to all scores, which softmax cancels.
            if name != "key":
                added = added.to(options.dtype).unflatten(0, (attention.heads, -1))
                self.register_buffer(f"{name}_bias", added)
        single_row = replace(options, rows=1, linear_factory=PlainLinear)
        self.project = single_row.linear(*_weights(attention.project))
        self.mlp = _Mlp(block, single_row)

    def forward(self, x: Tensor) -> Tensor:
        x = self.temporal_attention(x)
        cls, x = x[:, 0, 0], self.norm(x)
        query = torch.einsum("sth,nkh->stnk", x[:, :, 0], self.query) + self.query_bias
        projected = torch.einsum("stnk,nkh->stnh", query, self.key)
        attention = (projected @ x.transpose(-1, -2)).softmax(dim=-1)
        value = torch.einsum("stnh,nkh->stnk", attention @ x, self.value) + self.value_bias
        return self.mlp(self.project(value.flatten(2).mean(dim=1), residual=cls))


class _Mlp(nn.Module):
    def __init__(self, block: TrainedBlock, options: _LayerOptions) -> None:
        super().__init__()
        self.activation = block.mlp.activation
        self.norm = _norm(block.mlp_norm, options.dtype)
        self.fc1 = options.linear(*_weights(block.mlp.fc1))
        self.fc2 = options.linear(*_weights(block.mlp.fc2))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(self.norm(x), activation=self.activation), residual=x)


def _temporal_attention(block: TrainedBlock, options: _LayerOptions) -> nn.Module:
    divided = block.attention_type == "divided_space_time"
    return _TemporalAttention(block, options) if divided else nn.Identity()


def _norm(norm: nn.LayerNorm, dtype: torch.dtype) -> nn.LayerNorm:
    copy = nn.LayerNorm(norm.normalized_shape, eps=norm.eps, device="cpu", dtype=dtype)
    copy.load_state_dict(norm.state_dict())
    return copy.requires_grad_(False)


def _weights(linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
    return linear.weight.detach(), None if linear.bias is None else linear.bias.detach()


def _scaled_qkv(attention: TrainedAttention) -> tuple[Tensor, Tensor | None]:
    """Weights and bias of query, key and value; the query's include the attention scale."""
    hidden = attention.project.in_features
    scale = torch.ones(3 * hidden, 1)
    scale[:hidden] = (hidden // attention.heads) ** -0.5
    weight, bias = _weights(attention.qkv)
    return weight * scale, None if bias is None else bias * scale[:, 0]


def _pixel_weights(model: TrainedModel, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight (hidden, patch * patch * 3) and bias of the patch projection for uint8 pixels."""
    convolution = model.network.timesformer.patch_projection
    assert convolution.bias is not None
    weight, bias = convolution.weight.detach().double(), convolution.bias.detach().double()
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (model.mean, model.std))
    weight = (weight / (255 * std[:, None, None])).to(dtype)  # (hidden, 3, patch, patch)
    # Use the rounded weight: its error then affects only the difference from the mean pixel.
    bias = bias - (weight.double() * (255 * mean[:, None, None])).sum(dim=(1, 2, 3))
    return weight.permute(0, 2, 3, 1).flatten(1).contiguous(), bias.to(dtype)


FAMILIES.add(
    "timesformer",
    ModelFamily(TimesformerForVideoClassification.from_pretrained, InferenceNetwork, read_config),
)
