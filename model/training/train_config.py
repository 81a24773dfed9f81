"""How a model is trained on a person's clips: everything that the result depends on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stream.config.types import Seconds, Section, Share

Above0 = Annotated[float, Field(gt=0)]


class Recipe(Section):
    """The keys of `actionwatch train --config`. Two runs of one recipe and data are the same."""

    seed: Annotated[int, Field(ge=0)] = 0
    layers: Annotated[
        Literal["all", "head"] | Annotated[int, Field(ge=1, strict=True)],
        Field(description="what is trained: all, head, or so many layers at the end"),
    ] = "all"
    size: Annotated[
        int | None, Field(ge=1, description="pixels of the model's picture; null is as --init")
    ] = None
    frames: Annotated[int | None, Field(ge=1, description="of a clip; null is as --init")] = None
    span: Annotated[
        Seconds | None, Field(gt=0, description="that a clip lasts; null is as --init")
    ] = None
    background: Annotated[
        tuple[str, ...] | None,
        Field(description="labels that mean that nothing happens; null is as --init"),
    ] = None
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    epochs: Annotated[int, Field(ge=1)] = 30
    keep: Annotated[
        Literal["best", "last"], Field(description="which epoch's weights are the result")
    ] = "best"
    patience: Annotated[
        int, Field(ge=1, description="with best: epochs without a better one until it ends")
    ] = 15
    batch: Annotated[int, Field(ge=1)] = 16
    accumulate: Annotated[
        int, Field(ge=1, description="batches of which the gradients are added up for a step")
    ] = 1
    rate: Annotated[Above0, Field(description="AdamW's learning rate at its highest")] = 5e-4
    layer_decay: Annotated[
        float, Field(gt=0, le=1, description="each layer learns by so much slower than the next")
    ] = 0.8
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup: Annotated[Share, Field(description="share of the steps with a rising rate")] = 0.1
    clip_norm: Above0 = 1.0
    smoothing: Annotated[float, Field(ge=0, lt=1, description="of labels")] = 0.1
    mixup: Annotated[float, Field(ge=0, description="alpha of its beta distribution")] = 0.2
    ema: Annotated[
        float, Field(ge=0, lt=1, description="of the weights: what remains after a step")
    ] = 0.98
    balance: Annotated[bool, Field(description="show each label as often")] = True
    crop: Annotated[float, Field(ge=0, lt=1, description="most that is cut away")] = 0.35
    colour: Annotated[float, Field(ge=0, le=1)] = 0.3
    flip: Annotated[bool, Field(description="mirror clips of labels without a direction")] = True
    speed: Annotated[float, Field(ge=1, le=4, description="faster or slower by at most")] = 1.25
    drop_path: Annotated[float, Field(ge=0, lt=1, description="share of layers skipped")] = 0.1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    workers: Annotated[
        Annotated[int, Field(ge=0)] | Literal["auto"],
        Field(description="processes that make clips ready"),
    ] = "auto"
