"""Weights to begin with that know what places and times are."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.families.timesformer.network import Block, TimesformerModel


def know_place_and_time(body: TimesformerModel) -> None:
    """Begin with sines and cosines for places and times, and heads that look to and fro in time.

    From zeros and noise a network takes long to find out that frames have an order. Time gets
    channels of its own, as many as a head has; in each layer one head's queries are the keys of
    the frame before, another's those of the frame after. All of it is free to change in training.
    Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers", arXiv 2305.09828,
    show that what attention does after training is worth beginning with.
    """
    config = body.config
    hidden, side = config.hidden_size, config.image_size // config.patch_size
    own = hidden // config.num_attention_heads
    pace = math.pi * torch.logspace(-5, 0, own // 2, base=2)
    down, across = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    places = [
        _waves(place.flatten(), math.pi * torch.logspace(-5, 0, (hidden - own) // 4, base=2))
        for place in (down, across)
    ]
    with torch.no_grad():
        body.position[0, 1:, :-own] = 0.5 * torch.cat(places, dim=1)
        assert body.patch_projection.bias is not None
        for parameter in (body.patch_projection.weight, body.patch_projection.bias):
            parameter[-own:] = 0
        for parameter in (body.position, body.cls_token):
            parameter[..., -own:] = 0
        body.time[0, :, -own:] = _waves(torch.arange(config.num_frames), pace)
        for block in body.blocks:
            assert isinstance(block, Block)
            # What looks to and fro shall be heard from the start, in every layer.
            nn.init.trunc_normal_(block.temporal_project.weight, std=config.initializer_range)
            weight = block.temporal_attention.qkv.weight
            for head, step in zip(range(config.num_attention_heads - 1), (-1, 1), strict=False):
                query = slice(head * own, (head + 1) * own)
                key = slice(hidden + head * own, hidden + (head + 1) * own)
                weight[query] *= 0.1
                weight[key] *= 0.1
                # 1.6: sharp enough that one frame gets most of the attention.
                weight[query, -own:] = 1.6 * _shift(pace * step)
                weight[key, -own:] = 1.6 * torch.eye(own)


def _waves(places: Tensor, pace: Tensor) -> Tensor:
    """Sines, then cosines, of `places` (N,) at each pace (P,), radians a place: (N, 2 P)."""
    angles = places[:, None] * pace
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _shift(angles: Tensor) -> Tensor:
    """The matrix that turns the `_waves` of a place into those of one further on by `angles`."""
    cos, sin = torch.diag(angles.cos()), torch.diag(angles.sin())
    return torch.cat([torch.cat([cos, sin], dim=1), torch.cat([-sin, cos], dim=1)])
