from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.families.base import FAMILIES, InferenceOptions, ModelFamily
from model.predictor import Predictor
from model.trained_model import TrainedModel, load
from stream.config.config import InferenceConfig


@dataclass(frozen=True)
class ColorConfig:
    """The configuration of a toy network that names the strongest color of a clip."""

    labels: tuple[str, ...] = ("red", "green", "blue")
    num_frames: int = 4
    image_size: int = 8
    num_channels: int = 3
    problem_type: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"model_type": "color"}


class ColorNetwork(nn.Module):
    config = ColorConfig()

    def logits(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(1, 3, 4))


class ColorInference(nn.Module):
    def __init__(self, model: TrainedModel, options: InferenceOptions) -> None:
        super().__init__()

    def forward(self, clips: Tensor) -> Tensor:
        return clips.float().mean(dim=(1, 2, 3)) / 255


@pytest.fixture
def color_model(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "color"}))
    FAMILIES.add("color", ModelFamily(lambda folder: ColorNetwork(), ColorInference))
    yield tmp_path
    FAMILIES.remove("color")


def test_model_family_is_added_by_registration_alone(color_model: Path) -> None:
    model = load(color_model)
    assert model.family == "color"
    predictor = Predictor(model, InferenceConfig(device="cpu", precision="fp32"))
    clips = np.zeros((3, 4, 8, 8, 3), np.uint8)
    for label in range(3):
        clips[label, ..., label] = 255
    assert predictor.predict(clips).argmax(axis=1).tolist() == [0, 1, 2]
    with torch.inference_mode():
        assert model.network.logits(torch.ones(1, 4, 3, 8, 8)).tolist() == [[1, 1, 1]]
