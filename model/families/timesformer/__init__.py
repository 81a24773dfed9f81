"""TimeSformer: network, inference network and checkpoint conversion."""
