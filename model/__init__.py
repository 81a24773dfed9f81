"""TimeSformer: the network, its checkpoints, its training, and the worker that runs it."""
