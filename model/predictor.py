"""A trained model made ready to answer clips on this machine."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.checkpoint import CheckpointError
from model.preprocess import normalise
from model.trained import TrainedModel


class Predictor:
    """Scores batches of clips on the best device there is.

    Raises CheckpointError for a model that was loaded but can't answer.
    """

    def __init__(self, model: TrainedModel) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = model.network.to(self._device).eval()
        self._mean, self._std = model.mean, model.std
        spec, problem = model.spec, model.network.config.problem_type
        if len(spec.labels) == 1 or problem == "regression":
            raise CheckpointError(f"model {spec.model} tells an amount, not which label holds")
        self._several = problem == "multi_label_classification"
        blank = np.zeros((1, spec.frames, spec.height, spec.width, 3), np.uint8)
        try:  # the first pass is slow; have it behind us before we say that we're ready
            first = self.predict(blank)
        except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
            raise CheckpointError(f"model {spec.model} can't run: {error}") from error
        if not np.isfinite(first).all():
            raise CheckpointError(
                f"model {spec.model} answers with what is no number; its weights are damaged"
            )

    def predict(self, clips: np.ndarray) -> np.ndarray:
        """uint8 RGB (batch, T, H, W, 3) -> probabilities, float32 (batch, labels).

        They add up to 1, unless the model was trained for several labels at once.
        """
        with torch.inference_mode():
            pixels: Tensor = torch.from_numpy(clips).to(self._device)
            logits = self._network.logits(normalise(pixels, self._mean, self._std)).float()
            shares = logits.sigmoid() if self._several else logits.softmax(dim=1)
            return shares.cpu().numpy()
