"""The model card of a motion model: what it is, how it was trained, what was measured."""

from __future__ import annotations

from model.evaluation.metrics import Measured
from model.pretraining.config import Recipe

_CARD = """---
license: apache-2.0
pipeline_tag: video-classification
library_name: actionwatch
---
# {name}

A small TimeSformer (arXiv 2102.05095) with divided space-time attention that tells {count} motions
apart: {labels}. It sees {frames} frames over {span:g} s, {size} x {size} pixels, the whole picture
squashed into the square. "still" means that nothing happens, "other motion" that something moves
in another way than the rest.

## How it was trained

On drawn clips only: things of random shape and drawn people with limbs move over backgrounds from
plain to photographic-like, with bystanders, things in the way, motion blur, sway, shake, changing
light, noise, darkness, compression, late frames, and motions that begin or end within the clip. No
real video was used. {clips:,} clips, seed {seed}:

    {command}{began}{went_on}

## What was measured

top-1 {top1:.1%} on {held_out:,} held-out drawn clips at full difficulty
(`actionwatch evaluate {name} drawn:{held_out} --seed {eval_seed}`):

| motion | right |
| --- | --- |
{recall}

Commonest mistakes: {mistakes}.

## What it is not

It knows drawn motions in front of a camera that stands still. Its people are sticks with clothes:
for real people it is a beginning to train from, and what it says of them untrained is a guess. A
motion counts if it is about as fast as those drawn, a tenth to a half of the picture a second.
"""

_BEGAN = """

It began with the weights of `{init}`, which had learnt from clips of its own before."""
_WENT_ON = """

The run was broken off and went on with another number of clips: {lengths}."""


def motion_card(
    name: str, recipe: Recipe, report: Measured, *, lengths: list[int], eval_seed: int
) -> str:
    """The card as Markdown, with Hugging Face's header. For `lengths` see `train.lengths`."""
    command = f"actionwatch train-motion --out OUT --clips {recipe.clips} --seed {recipe.seed}"
    command += f" --init {recipe.init}" if recipe.init else ""
    mistakes = report.mistakes(4)
    return _CARD.format(
        name=name,
        count=len(report.labels),
        labels=", ".join(report.labels),
        frames=recipe.frames,
        span=recipe.span_s,
        size=recipe.size,
        clips=recipe.clips,
        seed=recipe.seed,
        command=command,
        began=_BEGAN.format(init=recipe.init) if recipe.init else "",
        went_on=_WENT_ON.format(lengths=", ".join(f"{length:,}" for length in lengths))
        if len(lengths) > 1
        else "",
        top1=report.top(1),
        held_out=int(report.confusion.sum()),
        eval_seed=eval_seed,
        recall="\n".join(f"| {label} | {share:.1%} |" for label, share in report.recall().items()),
        mistakes=", ".join(f"{truth} for {answer} ({n})" for truth, answer, n in mistakes)
        or "none",
    )
