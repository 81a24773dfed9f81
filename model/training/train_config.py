"""The configuration of a training run: everything that the result depends on, besides the data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stream.config.types import Ratio, Seconds, Section


class TrainConfig(Section):
    """The keys of `actionwatch train --config`. The same config and data give the same weights."""

    seed: int = Field(0, ge=0)
    unfreeze: Literal["all", "head"] | Annotated[int, Field(ge=1, strict=True)] = Field(
        "all", description="trainable layers: all, head, or this many at the end"
    )
    size: int | None = Field(
        None, ge=1, description="height and width in pixels; null is as --init"
    )
    frames: int | None = Field(None, ge=1, description="of a clip; null is as --init")
    span: Seconds | None = Field(None, gt=0, description="duration of a clip; null is as --init")
    background: tuple[str, ...] | None = Field(
        None, description="labels that mean no event; null is as --init"
    )
    val_fraction: float = Field(0.2, gt=0, lt=1)
    epochs: int = Field(30, ge=1)
    checkpoint: Literal["best", "last"] = Field(
        "best", description="the epoch whose weights are saved"
    )
    patience: int = Field(15, ge=1, description="epochs without improvement until training stops")
    batch_size: int = Field(16, ge=1)
    grad_accumulation_steps: int = Field(
        1, ge=1, description="batches whose gradients are summed for a step"
    )
    lr: float = Field(5e-4, gt=0, description="AdamW's peak learning rate")
    layer_decay: float = Field(
        0.8, gt=0, le=1, description="factor of the learning rate from layer to layer"
    )
    weight_decay: float = Field(0.05, ge=0)
    warmup: Ratio = Field(0.1, description="fraction of the steps with a rising rate")
    max_grad_norm: float = Field(1.0, gt=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    mixup: float = Field(0.2, ge=0, description="alpha of its beta distribution")
    ema: float = Field(
        0.98, ge=0, lt=1, description="decay per step of the weights' moving average"
    )
    balance: bool = Field(True, description="show each label equally often")
    random_crop: float = Field(
        0.35, ge=0, lt=1, description="maximum fraction of the frame that is cut away"
    )
    color_jitter: float = Field(0.3, ge=0, le=1)
    flip: bool = Field(True, description="mirror clips of labels without a direction")
    speed_jitter: float = Field(
        1.25, ge=1, le=4, description="maximum factor of a faster or slower playback"
    )
    drop_path: float = Field(0.1, ge=0, lt=1, description="fraction of layers skipped")
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    num_workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="processes that prepare clips"
    )
