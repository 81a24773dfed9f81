"""A toy model family, of another kind than TimeSformer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.families.base import FAMILIES, InferenceOptions, ModelFamily
from model.trained_model import TrainedModel


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


@contextmanager
def color_model(folder: Path) -> Iterator[Path]:
    """Register the family "color", and write a checkpoint of it into the folder."""
    (folder / "config.json").write_text(json.dumps({"model_type": "color"}))
    FAMILIES.add("color", ModelFamily(lambda folder: ColorNetwork(), ColorInference))
    try:
        yield folder
    finally:
        FAMILIES.remove("color")
