"""TimeSformer: network, checkpoints, training, and the worker that runs it."""

from model.families.timesformer.configuration import TimesformerConfig
from model.families.timesformer.network import TimesformerForVideoClassification, TimesformerModel

__all__ = ["TimesformerConfig", "TimesformerForVideoClassification", "TimesformerModel"]
