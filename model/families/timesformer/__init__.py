"""TimeSformer: configuration, network and checkpoint conversion."""
