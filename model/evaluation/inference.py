"""What a network says of labelled clips, all views of a clip together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from model.preprocess import normalise
from model.trained_model import TrainedModel

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


def in_parts(
    model: TrainedModel, clips: np.ndarray, compute: Callable[[Tensor], Tensor]
) -> np.ndarray:
    """What `compute` makes of the pixels of clips, uint8 (N, T, H, W, 3), a few at a time."""
    device = next(model.network.parameters()).device
    parts = []
    with torch.inference_mode():
        for part in np.array_split(clips, range(_TOGETHER, len(clips), _TOGETHER)):
            held = torch.from_numpy(np.ascontiguousarray(part)).to(device)
            parts.append(compute(normalise(held, model.mean, model.std)).cpu().numpy())
    return np.concatenate(parts)


def _answers(model: TrainedModel, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    found = in_parts(
        model, np.concatenate(clips), lambda pixels: model.network.logits(pixels).float()
    )
    return np.split(found, np.cumsum([len(one) for one in clips])[:-1])


def probabilities(logits: Iterable[np.ndarray], temperature: float = 1.0) -> np.ndarray:
    """Of each clip, float64 (clips, labels): the mean of its views' softmax, as in `classify`."""
    return np.stack([_softmax(one / temperature).mean(axis=0) for one in logits])


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return powers / powers.sum(axis=1, keepdims=True)
