"""Inference of a trained model on this machine, for any number of clips."""

from __future__ import annotations

import logging

import numpy as np

from model.checkpoint import CheckpointError
from model.engines.base import engine_type
from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig

_log = logging.getLogger(__name__)


class Predictor:
    """Scores clips with the configured engine. The constructor warms up all batch sizes.

    Raises CheckpointError for a model that can't run or returns NaN, EngineError for a
    configuration that this machine doesn't support.
    """

    def __init__(self, model: TrainedModel, config: InferenceConfig | None = None) -> None:
        config = config or InferenceConfig()
        spec, problem = model.spec, model.network.config.problem_type
        if len(spec.labels) == 1 or problem == "regression":
            raise CheckpointError(f"model {spec.model} is a regression model, not a classifier")
        self._temperature = np.float32(model.temperature)
        self._multi_label = problem == "multi_label_classification"
        try:
            self._engine = engine_type(config).create(model, config)
            self.name = self._engine.name  # engine, precision and device, for display
            # The largest batch that is faster than single clips and fits into memory.
            self.max_batch_size = config.max_batch_size if self._engine.supports_batching else 1
            for size in self._engine.batch_sizes or (1,):
                first = self.predict(np.zeros(spec.shape(size), np.uint8))
        except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
            raise CheckpointError(f"model {spec.model} can't run: {error}") from error
        if not np.isfinite(first).all():
            raise CheckpointError(
                f"model {spec.model} returns NaN or infinite scores; its weights are damaged"
            )

    def predict(self, clips: np.ndarray) -> np.ndarray:
        """uint8 RGB (batch, T, H, W, 3) -> probabilities, float32 (batch, labels).

        They sum to 1, except for a multi-label model. For large batches see `logits`.
        """
        logits = self.logits(clips) / self._temperature
        if self._multi_label:
            return 0.5 * (1 + np.tanh(0.5 * logits))  # the sigmoid, in a form that can't overflow
        return softmax(logits)

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """uint8 RGB (batch, T, H, W, 3) -> float32 (batch, labels).

        Clips that don't fit into the device's memory are split into smaller batches; the lower
        limit stays for later calls. Raises MemoryError where a single clip doesn't fit.
        """
        parts = []
        while len(clips):
            part = clips[: self.max_batch_size]
            try:
                parts.append(self._padded(part))
            except MemoryError:
                if len(part) == 1:
                    raise
                self.max_batch_size = half = len(part) // 2
                _log.warning(
                    "out of memory with %d clips; batch size reduced to %d", len(part), half
                )
                continue
            clips = clips[len(part) :]
        return np.concatenate(parts)

    def _padded(self, clips: np.ndarray) -> np.ndarray:
        """Logits of clips that are padded to the next batch size of the engine."""
        count = len(clips)
        size = next((size for size in self._engine.batch_sizes if size >= count), count)
        if size > count:
            clips = np.concatenate([clips, np.repeat(clips[-1:], size - count, axis=0)])
        return self._engine.logits(clips)[:count]


def softmax(logits: np.ndarray) -> np.ndarray:
    """(batch, labels) -> probabilities of the same dtype, each row sums to 1."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
