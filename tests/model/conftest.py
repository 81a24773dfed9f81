from __future__ import annotations

import pytest
import torch

from model.families.timesformer.network import TimesformerForVideoClassification
from model.pretraining.train import MEAN, STD, Recipe, motion_spec
from model.trained_model import TrainedModel

TINY = Recipe(
    clips=64,
    batch=8,
    lesson=2,
    size=32,
    patch=16,
    frames=4,
    hidden=32,
    layers=2,
    heads=2,
    intermediate=32,
)


@pytest.fixture
def tiny() -> Recipe:
    """A motion model that trains in a second, and knows nothing."""
    return TINY


@pytest.fixture
def trained(tiny: Recipe) -> TrainedModel:
    torch.manual_seed(0)
    network = TimesformerForVideoClassification(tiny.network()).eval()
    return TrainedModel(network, motion_spec(tiny, "tiny"), MEAN, STD)
