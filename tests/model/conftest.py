from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from model.families.timesformer.network import TimesformerForVideoClassification
from model.pretraining.config import NETWORK, PretrainConfig
from model.pretraining.train import motion_spec
from model.trained_model import MEAN, STD, TrainedModel

TINY = PretrainConfig(
    clips=64,
    batch_size=8,
    stage_batches=2,
    network=replace(
        NETWORK,
        image_size=32,
        patch_size=16,
        num_frames=4,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5 / math.sqrt(32),
    ),
)


@pytest.fixture
def tiny() -> PretrainConfig:
    """A configuration of a tiny motion model that trains in a second."""
    return TINY


@pytest.fixture
def trained(tiny: PretrainConfig) -> TrainedModel:
    torch.manual_seed(0)
    network = TimesformerForVideoClassification(tiny.network).eval()
    return TrainedModel(network, motion_spec(tiny, "tiny"), MEAN, STD)
