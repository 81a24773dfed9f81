"""Batched inference on clips with several views each, without an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from model.predictor import softmax
from model.trained_model import TrainedModel, normalize

_BATCH_VIEWS = 16  # larger batches are not faster and need more memory


def view_logits(model: TrainedModel, clips: Iterable[np.ndarray]) -> list[np.ndarray]:
    """The logits of each clip's views, float32 (V, labels); views are uint8 (V, T, H, W, 3)."""
    was_training = model.network.training
    model.network.eval()
    logits: list[np.ndarray] = []
    pending: list[np.ndarray] = []
    try:
        for views in clips:
            pending.append(views)
            if sum(map(len, pending)) >= _BATCH_VIEWS:
                logits += _logits(model, pending)
                pending = []
        if pending:
            logits += _logits(model, pending)
    finally:
        model.network.train(was_training)
    return logits


def in_batches(
    model: TrainedModel, clips: np.ndarray, compute: Callable[[Tensor], Tensor]
) -> np.ndarray:
    """The results of `compute` on the normalized pixels of clips, uint8 (N, T, H, W, 3)."""
    device = next(model.network.parameters()).device
    results = []
    with torch.inference_mode():
        for batch in np.array_split(clips, range(_BATCH_VIEWS, len(clips), _BATCH_VIEWS)):
            frames = torch.from_numpy(np.ascontiguousarray(batch)).to(device)
            results.append(compute(normalize(frames, model.mean, model.std)).cpu().numpy())
    return np.concatenate(results)


def _logits(model: TrainedModel, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    found = in_batches(
        model, np.concatenate(clips), lambda pixels: model.network.logits(pixels).float()
    )
    return np.split(found, np.cumsum([len(one) for one in clips])[:-1])


def probabilities(logits: Iterable[np.ndarray], temperature: float = 1.0) -> np.ndarray:
    """Mean softmax of each clip's views, float64 (clips, labels), as in `classify`."""
    return np.stack([softmax(one.astype(np.float64) / temperature).mean(axis=0) for one in logits])
