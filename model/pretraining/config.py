"""The configuration of a pretraining run: everything that its result depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.families.timesformer.configuration import TimesformerConfig
from stream.synthetic import MOTIONS

_INIT_LR_FACTOR = 0.5  # for a network that is already trained on the motions


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
    size: int = 96
    patch: int = 12
    frames: int = 8
    span_s: float = 1.6
    hidden: int = 128
    layers: int = 5
    heads: int = 4
    intermediate: int = 384

    @property
    def peak_lr(self) -> float:
        return (_INIT_LR_FACTOR if self.init else 1) * self.lr

    def network_config(self) -> TimesformerConfig:
        return TimesformerConfig(
            image_size=self.size,
            patch_size=self.patch,
            num_frames=self.frames,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate,
            initializer_range=0.5 / math.sqrt(self.hidden),  # 0.02 is too small for this width
            id2label=dict(enumerate(MOTIONS)),
        )
