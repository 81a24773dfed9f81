"""TimeSformer: the network, its checkpoints, its training, and the worker that runs it."""

from model.configuration import TimesformerConfig
from model.timesformer import TimesformerForVideoClassification, TimesformerModel

__all__ = ["TimesformerConfig", "TimesformerForVideoClassification", "TimesformerModel"]
