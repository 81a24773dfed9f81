"""The model card of a motion model: architecture, training, evaluation, limitations."""

from __future__ import annotations

from model.evaluation.metrics import ClassificationReport
from model.pretraining.config import PretrainConfig

_CARD = """---
license: apache-2.0
pipeline_tag: video-classification
library_name: actionwatch
---
# {name}

A small TimeSformer (arXiv 2102.05095) with divided space-time attention that classifies {count}
motions: {labels}. Its input is {frames} frames over {span:g} s, {size} x {size} pixels, the whole
frame squashed into the square. "still" means that nothing moves, "other motion" any motion that is
not in this list.

## Training

Only synthetic clips, no real video: objects of random shape and stick figures with limbs move in
front of plain to photo-like backgrounds, with bystanders, occlusion, motion blur, sway, camera
shake, changing light, noise, darkness, compression, late frames, and motions that start or end
within the clip. {clips:,} clips, seed {seed}:

    {command}{init_note}{resume_note}

## Evaluation

top-1 {top1:.1%} on {held_out:,} held-out synthetic clips at full difficulty
(`actionwatch evaluate {name} synthetic:{held_out} --seed {eval_seed}`):

| motion | recall |
| --- | --- |
{recall}

Most frequent errors: {mistakes}.

## Limitations

The model was trained on synthetic motions in front of a static camera. Its people are clothed stick
figures: for real people, use it as the starting checkpoint for fine-tuning; without that, its
scores are unreliable. It detects motions at about the training speed, a tenth to a half of the
frame per second.
"""

_INIT_NOTE = """

The run started from the weights of `{init}`, which had been trained on other synthetic clips."""
_RESUME_NOTE = """

The run was interrupted and resumed with another number of clips: {clip_targets}."""


def model_card(
    name: str,
    config: PretrainConfig,
    report: ClassificationReport,
    *,
    clip_targets: list[int],
    eval_seed: int,
) -> str:
    """The card in Markdown, with Hugging Face's header. `clip_targets`: see that function."""
    command = f"actionwatch train-motion --out OUT --clips {config.clips} --seed {config.seed}"
    command += f" --init {config.init}" if config.init else ""
    mistakes = report.mistakes(4)
    return _CARD.format(
        name=name,
        count=len(report.labels),
        labels=", ".join(report.labels),
        frames=config.frames,
        span=config.span_s,
        size=config.size,
        clips=config.clips,
        seed=config.seed,
        command=command,
        init_note=_INIT_NOTE.format(init=config.init) if config.init else "",
        resume_note=_RESUME_NOTE.format(clip_targets=", ".join(f"{n:,}" for n in clip_targets))
        if len(clip_targets) > 1
        else "",
        top1=report.top(1),
        held_out=int(report.confusion.sum()),
        eval_seed=eval_seed,
        recall="\n".join(f"| {label} | {value:.1%} |" for label, value in report.recall().items()),
        mistakes=", ".join(f"{truth} for {answer} ({n})" for truth, answer, n in mistakes)
        or "none",
    )
