"""What was learnt becomes a checkpoint: its temperature, what it is worth, its card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from model.evaluation.evaluate import evaluate
from model.evaluation.metrics import Measured
from model.predictor import Predictor
from model.pretraining.config import Recipe
from model.pretraining.evaluate import calibrated, drawn_samples
from model.pretraining.model_card import motion_card
from model.pretraining.train import finish, lengths
from model.trained_model import load, save

HELD_OUT = 1000  # clips


def complete(out: Path, recipe: Recipe, *, progress: Callable[[], None] = lambda: None) -> Measured:
    """Calibrate what `train_motion` wrote, measure it as a watch runs it, and write its card.

    `progress` is told of each of the HELD_OUT clips that it is measured on.
    """
    save(calibrated(load(out), HELD_OUT), out, half=True)
    model = load(out)
    samples = drawn_samples(model, HELD_OUT)
    measured = evaluate(Predictor(model), model.spec.labels, samples, progress=progress).measured
    card = motion_card(out.resolve().name, recipe, measured, lengths=lengths(out), eval_seed=0)
    (out / "README.md").write_text(card, encoding="utf-8")
    finish(out)
    return measured
