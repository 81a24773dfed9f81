"""Held-out synthetic clips, to evaluate a motion model and to fit its temperature."""

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


def synthetic_samples(
    model: TrainedModel, clips: int, *, seed: int = 0, fps: float | None = None
) -> Iterator[Sample]:
    """Held-out clips at full difficulty, with this frame rate or random ones.

    Raises CheckpointError if the model's labels are not the synthetic motions.
    """
    spec = model.spec
    if spec.labels != MOTIONS:
        raise CheckpointError(
            f"model {spec.model} must have the labels of the synthetic motions "
            f"({', '.join(MOTIONS)}) to be evaluated on synthetic clips"
        )
    dataset = held_out(model, clips, seed=seed, fps=fps)
    for number in range(clips):
        frames, label, _ = dataset[number]
        clip = frames.numpy()
        yield Sample(
            clip[None],
            MOTIONS[int(label)],
            f"synthetic clip {number}",
            0.0,
            spec.span_s,
            partial(_frames_and_fps, clip, spec.frames / spec.span_s),
        )


def calibrated(model: TrainedModel, clips: int, *, seed: int = 0) -> TrainedModel:
    """The model with a temperature fitted to a separate split of synthetic clips."""
    dataset = held_out(model, clips, seed=seed, split="calibration")
    truth: list[int] = []

    def views() -> Iterator[np.ndarray]:
        for number in range(clips):
            frames, label, _ = dataset[number]
            truth.append(int(label))
            yield frames.numpy()[None]

    logits = np.concatenate(view_logits(model, views()))
    return replace(model, temperature=fit_temperature(logits, np.array(truth)))


def _frames_and_fps(clip: np.ndarray, fps: float) -> tuple[np.ndarray, float]:
    return clip, fps
