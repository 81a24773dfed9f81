"""TimeSformer rewritten for inference: the same logits with less work.

Exact savings over `model/families/timesformer/network.py`:
- the temporal attention's two projections in a row are folded into one matrix;
- the classifier sees only the class token, so the last layer computes query, projection and MLP for
  it alone. For a single query keys and values need no products of their own either: q (W x) is
  (W^T q) x, and a weighted mean of W x is W of the weighted mean;
- normalising pixels is folded into the patch projection, which takes bytes;
- the scale of attention is folded into the query's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.engines.linear import MakeLinear, PlainLinear
from model.families.timesformer.network import Attention as TrainedAttention
from model.families.timesformer.network import Block as TrainedBlock
from model.trained_model import TrainedModel

# Query, key and value, each (..., heads, tokens, size), query already scaled -> the same shape.
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def attend_fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch's fused kernel, of which it has several and chooses one itself."""
    shape = query.shape
    query, key, value = (part.flatten(0, -4) for part in (query, key, value))  # slow for more axes
    return F.scaled_dot_product_attention(query, key, value, scale=1.0).view(shape)


def attend_by(backend: SDPBackend) -> Attend:
    """One certain kernel of torch's. Raises RuntimeError when it is used where it can't be had."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return attend_fused(query, key, value)

    return attend


def attend_plainly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Two products and a softmax: often faster on a CPU, above all for short sequences."""
    return (query @ key.transpose(-1, -2)).softmax(dim=-1) @ value


class InferenceNetwork(nn.Module):
    """uint8 clips (batch, T, H, W, 3) -> logits, float32 (batch, labels).

    Tokens are kept as (sequences, T, 1 + patches, hidden), a copy of the class token in front of
    each frame. With joint attention all patches are one frame; with space-only attention each frame
    is a sequence of its own.
    """

    place: Tensor  # (1, T or 1, patches, hidden)
    cls: Tensor  # (1, 1, 1, hidden)

    def __init__(
        self,
        model: TrainedModel,
        *,
        dtype: torch.dtype = torch.float32,
        make: MakeLinear = PlainLinear,
        make_exact: MakeLinear = PlainLinear,
        over_time: Attend = attend_fused,
        over_space: Attend = attend_fused,
    ) -> None:
        """`make` makes the layers that do most of the work, `make_exact` those that bear no
        rounding to 8 bits."""
        super().__init__()
        network, spec = model.network.timesformer, model.spec
        config = network.config
        self.attention_type = config.attention_type
        self.patch = config.patch_size
        self.dtype = dtype
        rows = spec.frames * (1 + config.patches_per_frame)
        weight, bias = _pixel_weights(model, dtype)
        self.project = make_exact(weight, bias, rows)
        with torch.no_grad():
            place = network.position[:, None, 1:]
            if config.attention_type != "space_only":
                place = place + network.time[:, :, None]
            self.register_buffer("place", place.to(dtype))
            cls = network.cls_token + network.position[:, :1]
            self.register_buffer("cls", cls[:, None].to(dtype))
        parts = _Parts(dtype, rows, make, over_time, over_space)
        *blocks, last = cast("list[TrainedBlock]", list(network.blocks))
        self.blocks = nn.ModuleList(_Block(block, parts) for block in blocks)
        self.last = _LastBlock(last, parts)
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
        """The tokens of the first layer."""
        batch, frames, height, width, channels = clips.shape
        size = self.patch
        down, across = height // size, width // size
        grid = clips.view(batch, frames, down, size, across, size, channels)
        pixels = grid.permute(0, 1, 2, 4, 3, 5, 6).reshape(batch, frames, down * across, -1)
        x = self.project(pixels.to(self.dtype)) + self.place
        if self.attention_type == "joint_space_time":
            x = x.flatten(1, 2)[:, None]
        elif self.attention_type == "space_only":
            x = x.flatten(0, 1)[:, None]
        return torch.cat([self.cls.expand(len(x), x.shape[1], 1, -1), x], dim=2)


@dataclass(frozen=True)
class _Parts:
    """What layers are made of."""

    dtype: torch.dtype
    rows: int  # that a clip has
    make: MakeLinear
    over_time: Attend
    over_space: Attend

    def linear(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        bias = None if bias is None else bias.to(self.dtype)
        return self.make(weight.to(self.dtype), bias, self.rows)


class _OverTime(nn.Module):
    """Each patch looks at itself in the other frames."""

    def __init__(self, block: TrainedBlock, parts: _Parts) -> None:
        super().__init__()
        attention = block.temporal_attention
        self.heads, self.attend = attention.heads, parts.over_time
        self.norm = _norm(block.temporal_norm, parts.dtype)
        self.qkv = parts.linear(*_scaled_qkv(attention))
        with torch.no_grad():  # two linear maps in a row are one
            first, second = attention.project, block.temporal_project
            weight = second.weight.double() @ first.weight.double()
            bias = second.weight.double() @ first.bias.double() + second.bias.double()
        self.project = parts.linear(weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        cls = x[:, :, 0].clone()  # it takes no part; what is computed for it is thrown away
        sequences, frames, tokens, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(sequences, frames, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(3, 0, 2, 4, 1, 5).unbind(0)
        mixed = self.attend(query, key, value).permute(0, 3, 1, 2, 4).reshape(x.shape)
        x = self.project(mixed, residual=x)
        x[:, :, 0] = cls
        return x


class _Block(nn.Module):
    """A layer: over time (divided attention only), over space, MLP."""

    def __init__(self, block: TrainedBlock, parts: _Parts) -> None:
        super().__init__()
        self.over_time = _over_time(block, parts)
        self.heads, self.attend = block.attention.heads, parts.over_space
        self.norm = _norm(block.attention_norm, parts.dtype)
        self.qkv = parts.linear(*_scaled_qkv(block.attention))
        self.project = parts.linear(*_weights(block.attention.project))
        self.mlp = _Mlp(block, parts)

    def forward(self, x: Tensor) -> Tensor:
        x = self.over_time(x)
        sequences, frames, tokens, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(sequences * frames, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = self.attend(query, key, value).transpose(1, 2).reshape(x.shape)
        x = self.project(mixed, residual=x)
        if frames > 1:  # the class token looked at each frame by itself; its answers are averaged
            x[:, :, 0] = x[:, :, 0].mean(dim=1, keepdim=True)
        return self.mlp(x)


class _LastBlock(nn.Module):
    """The last layer, for the class token alone: (sequences, T, 1 + patches, hidden) -> (sequences,
    hidden)."""

    query: Tensor  # (heads, size, hidden), as the next two
    key: Tensor
    value: Tensor
    query_bias: Tensor  # (heads, size), as the next
    value_bias: Tensor

    def __init__(self, block: TrainedBlock, parts: _Parts) -> None:
        super().__init__()
        self.over_time = _over_time(block, parts)
        attention = block.attention
        self.norm = _norm(block.attention_norm, parts.dtype)
        weight, bias = _scaled_qkv(attention)
        bias = torch.zeros(len(weight)) if bias is None else bias
        for name, part, added in zip(
            ("query", "key", "value"), weight.chunk(3), bias.chunk(3), strict=True
        ):
            part = part.to(parts.dtype).unflatten(0, (attention.heads, -1))
            self.register_buffer(name, part)
            # What the key's bias adds is the same for all tokens, and softmax does not see it.
            if name != "key":
                added = added.to(parts.dtype).unflatten(0, (attention.heads, -1))
                self.register_buffer(f"{name}_bias", added)
        few = replace(parts, rows=1, make=PlainLinear)
        self.project = few.linear(*_weights(attention.project))
        self.mlp = _Mlp(block, few)

    def forward(self, x: Tensor) -> Tensor:
        x = self.over_time(x)
        cls, x = x[:, 0, 0], self.norm(x)
        query = torch.einsum("sth,nkh->stnk", x[:, :, 0], self.query) + self.query_bias
        asked = torch.einsum("stnk,nkh->stnh", query, self.key)
        shares = (asked @ x.transpose(-1, -2)).softmax(dim=-1)
        value = torch.einsum("stnh,nkh->stnk", shares @ x, self.value) + self.value_bias
        return self.mlp(self.project(value.flatten(2).mean(dim=1), residual=cls))


class _Mlp(nn.Module):
    def __init__(self, block: TrainedBlock, parts: _Parts) -> None:
        super().__init__()
        self.activation = block.mlp.activation
        self.norm = _norm(block.mlp_norm, parts.dtype)
        self.widen = parts.linear(*_weights(block.mlp.widen))
        self.narrow = parts.linear(*_weights(block.mlp.narrow))

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(self.widen(self.norm(x), activation=self.activation), residual=x)


def _over_time(block: TrainedBlock, parts: _Parts) -> nn.Module:
    divided = block.attention_type == "divided_space_time"
    return _OverTime(block, parts) if divided else nn.Identity()


def _norm(norm: nn.LayerNorm, dtype: torch.dtype) -> nn.LayerNorm:
    copy = nn.LayerNorm(norm.normalized_shape, eps=norm.eps, device="cpu", dtype=dtype)
    copy.load_state_dict(norm.state_dict())
    return copy.requires_grad_(False)


def _weights(linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
    return linear.weight.detach(), None if linear.bias is None else linear.bias.detach()


def _scaled_qkv(attention: TrainedAttention) -> tuple[Tensor, Tensor | None]:
    """Weights of query, key and value, the query's with attention's scale in them."""
    hidden = attention.project.in_features
    scale = torch.ones(3 * hidden, 1)
    scale[:hidden] = (hidden // attention.heads) ** -0.5
    weight, bias = _weights(attention.qkv)
    return weight * scale, None if bias is None else bias * scale[:, 0]


def _pixel_weights(model: TrainedModel, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The patch projection for bytes as they come, (hidden, patch * patch * 3), and its bias."""
    convolution = model.network.timesformer.patch_projection
    assert convolution.bias is not None
    weight, bias = convolution.weight.detach().double(), convolution.bias.detach().double()
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (model.mean, model.std))
    weight = (weight / (255 * std[:, None, None])).to(dtype)  # (hidden, 3, patch, patch)
    # With the rounded weight: its errors then count for the difference to the mean only.
    bias = bias - (weight.double() * (255 * mean[:, None, None])).sum(dim=(1, 2, 3))
    return weight.permute(0, 2, 3, 1).flatten(1).contiguous(), bias.to(dtype)
