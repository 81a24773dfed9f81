"""Networks, checkpoints, training, and the worker that runs a model."""
