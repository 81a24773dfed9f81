from __future__ import annotations

import pytest
import torch

from model.families.timesformer.network import TimesformerForVideoClassification
from model.pretraining.train import MEAN, STD, PretrainConfig, motion_spec
from model.trained_model import TrainedModel

TINY = PretrainConfig(
    clips=64,
    batch_size=8,
    stage_batches=2,
    size=32,
    patch=16,
    frames=4,
    hidden=32,
    layers=2,
    heads=2,
    intermediate=32,
)


@pytest.fixture
def tiny() -> PretrainConfig:
    """A configuration of a tiny motion model that trains in a second."""
    return TINY


@pytest.fixture
def trained(tiny: PretrainConfig) -> TrainedModel:
    torch.manual_seed(0)
    network = TimesformerForVideoClassification(tiny.network_config()).eval()
    return TrainedModel(network, motion_spec(tiny, "tiny"), MEAN, STD)
