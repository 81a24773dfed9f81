"""The model card of a model that was trained on a person's clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from model.evaluation.metrics import Measured
from model.trained_model import TrainedModel
from model.training.dataset import Labelled
from model.training.fit import Epoch, LearningData
from model.training.train_config import Recipe

_CARD = """---
pipeline_tag: video-classification
library_name: actionwatch
---
# {name}

A TimeSformer (arXiv 2102.05095, {attention}) that tells {count} labels apart. It sees {frames}
frames over {span:g} s, {height} x {width} pixels (`fit: {fit}`). {background}

In this folder:

    actionwatch run --model .

## How it was trained

{begun}, {layers}, for {epochs} on {train} clips, seed {seed}; the whole recipe and the
course of it are in `training.json`.

| label | clips to learn from | for validation | right |
| --- | --- | --- | --- |
{rows}

## What was measured

{measured}
"""

_MEASURED = """On the {clips} clips for validation. They chose the best epoch and the temperature
({temperature:.2f}): clips that had no part in it may come out worse.

| | |
| --- | --- |
| top-1 | {top1:.1%} (likely {low:.0%} to {high:.0%} of others) |
| mean accuracy of the labels | {balanced:.1%} |
| macro F1 | {f1:.3f} |
| calibration error | {ece:.3f} |

Commonest mistakes: {mistakes}. ![curve](curve.png) ![confusion](confusion.png)"""


def card(
    model: TrainedModel,
    history: Sequence[Epoch],
    measured: Measured | None,
    recipe: Recipe,
    init: str,
    data: LearningData,
) -> str:
    """The card as Markdown, with Hugging Face's header. `init` names what training began with."""
    spec, config = model.spec, model.network.config
    layers = {"all": "all layers", "head": "the classifier alone"}
    quiet = ", ".join(sorted(spec.background))
    return _CARD.format(
        name=plain(spec.model),
        attention=config.attention_type.replace("_", " "),
        count=len(spec.labels),
        frames=spec.frames,
        span=spec.span_s,
        height=spec.height,
        width=spec.width,
        fit=spec.fit,
        background=f"{plain(quiet)}: nothing happens." if quiet else "",
        begun=init,
        layers=layers.get(str(recipe.layers), f"the last {recipe.layers} layers"),
        epochs=f"{len(history)} epoch{'s' * (len(history) != 1)}",
        train=len(data.train),
        seed=recipe.seed,
        rows="\n".join(_rows(spec.labels, measured, data)),
        measured=_measured(measured, model.temperature) if measured else "Nothing was kept aside.",
    )


def _rows(labels: Sequence[str], measured: Measured | None, data: LearningData) -> list[str]:
    train, val = _count(data.train), _count(data.val)
    right = measured.recall() if measured else {}
    return [
        f"| {plain(label)} | {train[number]} | {val[number]} | "
        + (f"{right[label]:.0%} |" if label in right else "|")
        for number, label in enumerate(labels)
    ]


def _measured(measured: Measured, temperature: float) -> str:
    low, high = measured.likely
    mistakes = (
        f"{plain(truth)} taken for {plain(a)} ({n})" for truth, a, n in measured.mistakes(4)
    )
    return _MEASURED.format(
        clips=len(measured.truth),
        temperature=temperature,
        top1=measured.top(1),
        low=low,
        high=high,
        balanced=measured.mean_class_accuracy,
        f1=measured.macro_f1,
        ece=measured.calibration_error(),
        mistakes=", ".join(mistakes) or "none",
    )


def _count(examples: Sequence[Labelled]) -> Counter[int]:
    return Counter(one.label for one in examples)


def plain(text: str) -> str:
    """A label as text in a table of Markdown, whatever is in it."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#$~" else sign for sign in text)
