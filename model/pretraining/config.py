"""How a motion model is trained: everything that the result depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.families.timesformer.configuration import TimesformerConfig
from stream.synthetic import MOTIONS

_GENTLE = 0.5  # of the rate, for a network that knows the motions already


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on."""

    clips: int = 260_000  # as the network sees them: half of them are drawn, half played backwards
    seed: int = 0
    init: str = ""  # embedded name or folder of a motion model that this run makes better
    batch: int = 32  # of the whole team
    lesson: int = 50  # batches of one difficulty
    rate: float = 1.4e-3  # at its highest, for a network that knows nothing yet
    weight_decay: float = 0.05
    warmup: float = 0.005  # share of the clips
    size: int = 96
    patch: int = 12
    frames: int = 8
    span_s: float = 1.6
    hidden: int = 128
    layers: int = 5
    heads: int = 4
    intermediate: int = 384

    @property
    def highest_rate(self) -> float:
        return (_GENTLE if self.init else 1) * self.rate

    def network(self) -> TimesformerConfig:
        return TimesformerConfig(
            image_size=self.size,
            patch_size=self.patch,
            num_frames=self.frames,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate,
            initializer_range=0.5 / math.sqrt(self.hidden),  # 0.02 is too faint if it is narrow
            id2label=dict(enumerate(MOTIONS)),
        )
