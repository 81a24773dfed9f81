"""The configuration of a pretraining run: everything that its result depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.families.timesformer.configuration import TimesformerConfig
from stream.synthetic.motions import MOTIONS

_INIT_LR_FACTOR = 0.5  # for a network that is already trained on the motions
NETWORK = TimesformerConfig(
    image_size=96,
    patch_size=12,
    num_frames=8,
    hidden_size=128,
    num_hidden_layers=5,
    num_attention_heads=4,
    intermediate_size=384,
    initializer_range=0.5 / math.sqrt(128),  # 0.02 is too small for this width
    id2label=dict(enumerate(MOTIONS)),
)


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that a pretraining run depends on."""

    clips: int = 260_000  # training clips: half are rendered, half are their reverses
    seed: int = 0
    init: str = ""  # embedded name or folder of a motion model to train further
    batch_size: int = 32  # of all processes together
    stage_batches: int = 50  # batches per curriculum stage, all of one difficulty
    lr: float = 1.4e-3  # peak, for an untrained network
    weight_decay: float = 0.05
    warmup: float = 0.005  # fraction of the clips
    span_s: float = 1.6
    network: TimesformerConfig = NETWORK

    @property
    def peak_lr(self) -> float:
        return (_INIT_LR_FACTOR if self.init else 1) * self.lr
