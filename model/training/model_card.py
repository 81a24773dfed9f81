"""The model card of a fine-tuned checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from model.evaluation.metrics import ClassificationReport
from model.trained_model import TrainedModel
from model.training.dataset import LabeledClip
from model.training.fit import EpochMetrics, TrainingData
from model.training.train_config import TrainConfig

_CARD = """---
pipeline_tag: video-classification
library_name: actionwatch
---
# {name}

A TimeSformer (arXiv 2102.05095, {attention}) that classifies {count} labels. Its input is
{frames} frames over {span:g} s, {height} x {width} pixels (`fit: {fit}`). {background}

In this folder:

    actionwatch run --model .

## Training

Started from {init}; trained {layers} for {epochs} on {train} clips, seed {seed}. The full
configuration and the metrics of each epoch are in `training.json`.

| label | training clips | validation clips | recall |
| --- | --- | --- | --- |
{rows}

## Evaluation

{evaluation}
"""

_EVALUATION = """On the {clips} validation clips. They also chose the best epoch and the temperature
({temperature:.2f}), so expect somewhat lower accuracy on new clips.

| | |
| --- | --- |
| top-1 | {top1:.1%} (95 % interval {low:.0%} to {high:.0%}) |
| mean class accuracy | {balanced:.1%} |
| macro F1 | {f1:.3f} |
| calibration error | {ece:.3f} |

Most frequent confusions: {mistakes}. ![curve](curve.png) ![confusion](confusion.png)"""


def render_card(
    model: TrainedModel,
    history: Sequence[EpochMetrics],
    report: ClassificationReport | None,
    config: TrainConfig,
    init: str,
    data: TrainingData,
) -> str:
    """The card as Markdown with Hugging Face's header. `init` names the initial checkpoint."""
    spec, network_config = model.spec, model.network.config
    layers = {"all": "all layers", "head": "the classifier only"}
    background = ", ".join(sorted(spec.background))
    return _CARD.format(
        name=escape_markdown(spec.model),
        attention=network_config.attention_type.replace("_", " "),
        count=len(spec.labels),
        frames=spec.frames,
        span=spec.span_s,
        height=spec.height,
        width=spec.width,
        fit=spec.fit,
        background=f"Background labels: {escape_markdown(background)}." if background else "",
        init=init,
        layers=layers.get(str(config.layers), f"the last {config.layers} layers"),
        epochs=f"{len(history)} epoch{'s' * (len(history) != 1)}",
        train=len(data.train),
        seed=config.seed,
        rows="\n".join(_rows(spec.labels, report, data)),
        evaluation=(
            _evaluation(report, model.temperature) if report else "There were no validation clips."
        ),
    )


def _rows(
    labels: Sequence[str], report: ClassificationReport | None, data: TrainingData
) -> list[str]:
    train, val = _count(data.train), _count(data.val)
    recall = report.recall() if report else {}
    return [
        f"| {escape_markdown(label)} | {train[index]} | {val[index]} | "
        + (f"{recall[label]:.0%} |" if label in recall else "|")
        for index, label in enumerate(labels)
    ]


def _evaluation(report: ClassificationReport, temperature: float) -> str:
    low, high = report.accuracy_interval
    mistakes = (
        f"{escape_markdown(truth)} classified as {escape_markdown(answer)} ({count})"
        for truth, answer, count in report.mistakes(4)
    )
    return _EVALUATION.format(
        clips=len(report.truth),
        temperature=temperature,
        top1=report.top(1),
        low=low,
        high=high,
        balanced=report.mean_class_accuracy,
        f1=report.macro_f1,
        ece=report.calibration_error(),
        mistakes=", ".join(mistakes) or "none",
    )


def _count(examples: Sequence[LabeledClip]) -> Counter[int]:
    return Counter(one.label for one in examples)


def escape_markdown(text: str) -> str:
    """The text with Markdown's special characters escaped, for use in a table."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#$~" else sign for sign in text)
