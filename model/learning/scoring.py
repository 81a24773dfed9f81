"""What a network says of labelled clips, all views of a clip together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from model.preprocess import normalise
from model.trained import TrainedModel

_TOGETHER = 16  # views at once: more gain nothing, and take memory


def view_logits(
    model: TrainedModel,
    clips: Iterable[np.ndarray],
    progress: Callable[[int], None] = lambda clips: None,
) -> list[np.ndarray]:
    """The logits of each clip's views, float32 (V, labels); views are uint8 (V, T, H, W, 3).

    `progress` is told how many more clips are done.
    """
    was_training = model.network.training
    model.network.eval()
    answers: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for views in clips:
        waiting.append(views)
        if sum(map(len, waiting)) >= _TOGETHER:
            answers += _answers(model, waiting)
            progress(len(waiting))
            waiting = []
    if waiting:
        answers += _answers(model, waiting)
        progress(len(waiting))
    model.network.train(was_training)
    return answers


def _answers(model: TrainedModel, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    device = next(model.network.parameters()).device
    together = np.concatenate(clips)
    parts = []
    with torch.inference_mode():
        for part in np.array_split(together, range(_TOGETHER, len(together), _TOGETHER)):
            pixels = normalise(torch.from_numpy(part).to(device), model.mean, model.std)
            parts.append(model.network.logits(pixels).float().cpu().numpy())
    return np.split(np.concatenate(parts), np.cumsum([len(one) for one in clips])[:-1])


def probabilities(logits: Iterable[np.ndarray], temperature: float = 1.0) -> np.ndarray:
    """Of each clip, float64 (clips, labels): the mean of its views' softmax, as in `classify`."""
    return np.stack([_softmax(one / temperature).mean(axis=0) for one in logits])


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return powers / powers.sum(axis=1, keepdims=True)
