"""The family `timesformer`: how its checkpoints are read and prepared for inference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from model.families.base import FAMILIES, InferenceOptions
from model.families.timesformer.inference import InferenceNetwork
from model.families.timesformer.network import TimesformerForVideoClassification

if TYPE_CHECKING:
    from model.trained_model import TrainedModel


class TimesformerFamily:
    """TimeSformer as transformers stores it."""

    def load(self, folder: Path) -> TimesformerForVideoClassification:
        return TimesformerForVideoClassification.from_pretrained(folder)

    def for_inference(self, model: TrainedModel, options: InferenceOptions) -> nn.Module:
        config, frames = model.network.config, model.spec.frames
        heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        patches = config.patches_per_frame
        joint = config.attention_type == "joint_space_time"
        joint_shape = (1, heads, 1 + patches * frames, size)
        spatial_shape = joint_shape if joint else (frames, heads, 1 + patches, size)
        return InferenceNetwork(
            model,
            dtype=options.dtype,
            linear_factory=options.linear_factory,
            exact_linear_factory=options.exact_linear_factory,
            temporal_attention=options.fastest_attention((1 + patches, heads, frames, size)),
            spatial_attention=options.fastest_attention(spatial_shape),
        )


FAMILIES.add("timesformer", TimesformerFamily())
