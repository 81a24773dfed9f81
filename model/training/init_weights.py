"""Initial weights with structured position and time embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.families.timesformer.network import Block, TimesformerModel


def mimetic_init(body: TimesformerModel) -> None:
    """Initialize embeddings with sinusoids, and temporal heads to attend to adjacent frames.

    From zeros and noise a network needs long to discover that frames have an order. Time gets
    channels of its own, as many as a head has. In each layer the queries of one head match the
    keys of the previous frame, those of another head the keys of the next frame. All weights stay
    trainable. Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers", arXiv
    2305.09828, show that starting from the structure of trained attention helps.
    """
    config = body.config
    hidden, side = config.hidden_size, config.image_size // config.patch_size
    own = hidden // config.num_attention_heads
    frequencies = math.pi * torch.logspace(-5, 0, own // 2, base=2)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    positions = [
        _sinusoids(axis.flatten(), math.pi * torch.logspace(-5, 0, (hidden - own) // 4, base=2))
        for axis in (rows, columns)
    ]
    with torch.no_grad():
        body.position[0, 1:, :-own] = 0.5 * torch.cat(positions, dim=1)
        assert body.patch_projection.bias is not None
        for parameter in (body.patch_projection.weight, body.patch_projection.bias):
            parameter[-own:] = 0
        for parameter in (body.position, body.cls_token):
            parameter[..., -own:] = 0
        body.time[0, :, -own:] = _sinusoids(torch.arange(config.num_frames), frequencies)
        for block in body.blocks:
            assert isinstance(block, Block)
            # Not zero: the temporal heads must contribute from the first step, in every layer.
            nn.init.trunc_normal_(block.temporal_project.weight, std=config.initializer_range)
            weight = block.temporal_attention.qkv.weight
            for head, step in zip(range(config.num_attention_heads - 1), (-1, 1), strict=False):
                query = slice(head * own, (head + 1) * own)
                key = slice(hidden + head * own, hidden + (head + 1) * own)
                weight[query] *= 0.1
                weight[key] *= 0.1
                # 1.6: sharp enough that one frame gets most of the attention.
                weight[query, -own:] = 1.6 * _shift(frequencies * step)
                weight[key, -own:] = 1.6 * torch.eye(own)


def _sinusoids(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Sines, then cosines, of positions (N,) at frequencies (F,) in radians: (N, 2 F)."""
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _shift(angles: Tensor) -> Tensor:
    """The matrix that rotates the `_sinusoids` of a position by `angles`."""
    cos, sin = torch.diag(angles.cos()), torch.diag(angles.sin())
    return torch.cat([torch.cat([cos, sin], dim=1), torch.cat([-sin, cos], dim=1)])
