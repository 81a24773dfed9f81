"""A trained model made fast on this machine, and safe to be given any number of clips."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from model.checkpoint import CheckpointError
from model.engines.base import Engine, EngineError
from model.engines.torch_engine import TorchEngine
from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig

_log = logging.getLogger(__name__)


class Predictor:
    """Scores clips with the engine of one's choice, all batch sizes warmed up.

    Raises CheckpointError for a model that was loaded but can't answer, EngineError for a choice
    that can't be had here.
    """

    def __init__(
        self,
        model: TrainedModel,
        choice: InferenceConfig | None = None,
        *,
        make: Callable[[TrainedModel, InferenceConfig], Engine] | None = None,
    ) -> None:
        """`make` makes the engine, by default the one that `choice` names."""
        choice = choice or InferenceConfig()
        spec, problem = model.spec, model.network.config.problem_type
        if len(spec.labels) == 1 or problem == "regression":
            raise CheckpointError(f"model {spec.model} tells an amount, not which label holds")
        self._temperature = np.float32(model.temperature)
        self._several = problem == "multi_label_classification"
        try:
            self._engine = (make or _engine)(model, choice)
            self._most = choice.batch if self._engine.batches else 1
            for size in self._engine.sizes or (1,):
                first = self.predict(np.zeros(spec.shape(size), np.uint8))
        except EngineError:
            raise
        except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
            raise CheckpointError(f"model {spec.model} can't run: {error}") from error
        if not np.isfinite(first).all():
            raise CheckpointError(
                f"model {spec.model} answers with what is no number; its weights are damaged"
            )

    @property
    def name(self) -> str:
        """What runs the model, for people."""
        return self._engine.name

    @property
    def most(self) -> int:
        """How many clips are worth being given at once."""
        return self._most

    def predict(self, clips: np.ndarray) -> np.ndarray:
        """uint8 RGB (batch, T, H, W, 3) -> probabilities, float32 (batch, labels).

        They add up to 1, unless the model was trained for several labels at once. See `logits`.
        """
        logits = self.logits(clips) / self._temperature
        if self._several:
            return 0.5 * (1 + np.tanh(0.5 * logits))  # the sigmoid, which can't overflow like this
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """uint8 RGB (batch, T, H, W, 3) -> float32 (batch, labels).

        More clips than the device has room for are scored in parts, and the limit is kept.
        Raises MemoryError where there is not even room for one.
        """
        parts = []
        while len(clips):
            part = clips[: self._most]
            try:
                parts.append(self._padded(part))
            except MemoryError:
                if len(part) == 1:
                    raise
                self._most = len(part) // 2
                _log.warning(
                    "no memory for %d clips at once; from now on %d", len(part), self._most
                )
                continue
            clips = clips[len(part) :]
        return np.concatenate(parts)

    def _padded(self, clips: np.ndarray) -> np.ndarray:
        """Clips are filled up to the next size that the engine was prepared for."""
        count = len(clips)
        size = next((size for size in self._engine.sizes if size >= count), count)
        if size > count:
            clips = np.concatenate([clips, np.repeat(clips[-1:], size - count, axis=0)])
        return self._engine.logits(clips)[:count]


def _engine(model: TrainedModel, choice: InferenceConfig) -> Engine:
    if choice.engine == "openvino":
        from model.engines.openvino_engine import OpenVinoEngine  # an extra

        return OpenVinoEngine(model, choice)
    return TorchEngine(model, choice)
