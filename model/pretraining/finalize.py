"""Finalize a pretrained checkpoint: temperature, evaluation, model card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from model.evaluation.evaluate import evaluate
from model.evaluation.metrics import ClassificationReport
from model.predictor import Predictor
from model.pretraining.config import PretrainConfig
from model.pretraining.evaluate import calibrated, synthetic_samples
from model.pretraining.model_card import model_card
from model.pretraining.train import clip_targets, delete_training_state
from model.trained_model import load, save

HELD_OUT = 1000  # clips


def finalize_checkpoint(
    out: Path, config: PretrainConfig, *, on_progress: Callable[[], None] = lambda: None
) -> ClassificationReport:
    """Calibrate the checkpoint of `train_motion`, evaluate it as deployed, and write its card.

    `on_progress` is called for each of the HELD_OUT evaluation clips.
    """
    save(calibrated(load(out), HELD_OUT), out, half=True)
    model = load(out)
    samples = synthetic_samples(model, HELD_OUT)
    result = evaluate(Predictor(model), model.spec.labels, samples, on_progress=on_progress)
    report = result.report
    card = model_card(
        out.resolve().name, config, report, clip_targets=clip_targets(out), eval_seed=0
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    delete_training_state(out)
    return report
