"""Held-out synthetic clips: the temperature, evaluation and card of a motion model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from model.checkpoint import CheckpointError
from model.evaluation.calibration import fit_temperature
from model.evaluation.evaluate import Sample, evaluate
from model.evaluation.inference import view_logits
from model.evaluation.metrics import ClassificationReport
from model.predictor import Predictor
from model.pretraining.config import PretrainConfig
from model.pretraining.dataset import held_out
from model.pretraining.train import clip_targets, delete_training_state
from model.render import render
from model.trained_model import TrainedModel, load, save
from stream.synthetic.motions import MOTIONS

HELD_OUT = 1000  # clips
_SEED = 0


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


def finalize_checkpoint(
    out: Path, config: PretrainConfig, *, on_progress: Callable[[], None] = lambda: None
) -> ClassificationReport:
    """Calibrate the checkpoint of `train_motion`, evaluate it as deployed, and write its card.

    `on_progress` is called for each of the HELD_OUT evaluation clips.
    """
    save(calibrated(load(out), HELD_OUT), out, half=True)
    model = load(out)
    samples = synthetic_samples(model, HELD_OUT, seed=_SEED)
    result = evaluate(Predictor(model), model.spec.labels, samples, on_progress=on_progress)
    card = render(
        "motion.md",
        name=model.spec.model,
        spec=model.spec,
        config=config,
        report=result.report,
        clip_targets=clip_targets(out),
        seed=_SEED,
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    delete_training_state(out)
    return result.report
