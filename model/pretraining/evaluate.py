"""Held-out drawn clips, for evaluating a motion model and for its temperature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from model.checkpoint import CheckpointError
from model.evaluation.calibration import fit_temperature
from model.evaluation.evaluate import Sample
from model.evaluation.inference import view_logits
from model.pretraining.dataset import held_out
from model.trained_model import TrainedModel
from stream.synthetic import MOTIONS


def drawn_samples(
    model: TrainedModel, clips: int, *, seed: int = 0, fps: float | None = None
) -> Iterator[Sample]:
    """Clips at full difficulty that no training has seen, of a camera of so many fps or of any.

    Raises CheckpointError where the model does not know the drawn motions.
    """
    spec = model.spec
    if spec.labels != MOTIONS:
        raise CheckpointError(
            f"model {spec.model} has other labels than the drawn motions "
            f"({', '.join(MOTIONS)}), so drawn clips can't tell how good it is"
        )
    drawn = held_out(model, clips, seed=seed, fps=fps)
    for number in range(clips):
        frames, label, _ = drawn[number]
        clip = frames.numpy()
        yield Sample(
            clip[None],
            MOTIONS[int(label)],
            f"drawn clip {number}",
            0.0,
            spec.span_s,
            partial(_shown, clip, spec.frames / spec.span_s),
        )


def calibrated(model: TrainedModel, clips: int, *, seed: int = 0) -> TrainedModel:
    """The model with a temperature fitted to drawn clips that nothing else uses."""
    drawn = held_out(model, clips, seed=seed, split="calibration")
    truth: list[int] = []

    def views() -> Iterator[np.ndarray]:
        for number in range(clips):
            frames, label, _ = drawn[number]
            truth.append(int(label))
            yield frames.numpy()[None]

    logits = np.concatenate(view_logits(model, views()))
    return replace(model, temperature=fit_temperature(logits, np.array(truth)))


def _shown(clip: np.ndarray, fps: float) -> tuple[np.ndarray, float]:
    return clip, fps
