from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model.predictor import Predictor
from model.trained_model import load
from stream.config.config import InferenceConfig
from tests.model.color_family import color_model


def test_model_family_is_added_by_registration_alone(tmp_path: Path) -> None:
    with color_model(tmp_path):
        model = load(tmp_path)
        assert model.family == "color"
        predictor = Predictor(model, InferenceConfig(device="cpu", precision="fp32"))
        clips = np.zeros((3, 4, 8, 8, 3), np.uint8)
        for label in range(3):
            clips[label, ..., label] = 255
        assert predictor.predict(clips).argmax(axis=1).tolist() == [0, 1, 2]
        with torch.inference_mode():
            assert model.network.logits(torch.ones(1, 4, 3, 8, 8)).tolist() == [[1, 1, 1]]
