"""The configuration of a training run: everything that the result depends on, besides the data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stream.config.types import Ratio, Seconds, Section

Above0 = Annotated[float, Field(gt=0)]


class TrainConfig(Section):
    """The keys of `actionwatch train --config`. The same config and data give the same weights."""

    seed: Annotated[int, Field(ge=0)] = 0
    layers: Annotated[
        Literal["all", "head"] | Annotated[int, Field(ge=1, strict=True)],
        Field(description="trainable layers: all, head, or this many at the end"),
    ] = "all"
    size: Annotated[
        int | None, Field(ge=1, description="height and width in pixels; null is as --init")
    ] = None
    frames: Annotated[int | None, Field(ge=1, description="of a clip; null is as --init")] = None
    span: Annotated[
        Seconds | None, Field(gt=0, description="duration of a clip; null is as --init")
    ] = None
    background: Annotated[
        tuple[str, ...] | None,
        Field(description="labels that mean no event; null is as --init"),
    ] = None
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    epochs: Annotated[int, Field(ge=1)] = 30
    checkpoint: Annotated[
        Literal["best", "last"], Field(description="the epoch whose weights are saved")
    ] = "best"
    patience: Annotated[
        int, Field(ge=1, description="epochs without improvement until training stops")
    ] = 15
    batch_size: Annotated[int, Field(ge=1)] = 16
    grad_accumulation_steps: Annotated[
        int, Field(ge=1, description="batches whose gradients are summed for a step")
    ] = 1
    lr: Annotated[Above0, Field(description="AdamW's peak learning rate")] = 5e-4
    layer_decay: Annotated[
        float, Field(gt=0, le=1, description="factor of the learning rate from layer to layer")
    ] = 0.8
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup: Annotated[Ratio, Field(description="fraction of the steps with a rising rate")] = 0.1
    max_grad_norm: Above0 = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    mixup: Annotated[float, Field(ge=0, description="alpha of its beta distribution")] = 0.2
    ema: Annotated[
        float, Field(ge=0, lt=1, description="decay per step of the weights' moving average")
    ] = 0.98
    balance: Annotated[bool, Field(description="show each label equally often")] = True
    random_crop: Annotated[
        float, Field(ge=0, lt=1, description="maximum fraction of the frame that is cut away")
    ] = 0.35
    color_jitter: Annotated[float, Field(ge=0, le=1)] = 0.3
    flip: Annotated[bool, Field(description="mirror clips of labels without a direction")] = True
    speed_jitter: Annotated[
        float, Field(ge=1, le=4, description="maximum factor of a faster or slower playback")
    ] = 1.25
    drop_path: Annotated[float, Field(ge=0, lt=1, description="fraction of layers skipped")] = 0.1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    num_workers: Annotated[
        Annotated[int, Field(ge=0)] | Literal["auto"],
        Field(description="processes that prepare clips"),
    ] = "auto"
