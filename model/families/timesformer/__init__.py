"""TimeSformer: network, inference network and checkpoint conversion."""

from model.families.timesformer import inference as inference
