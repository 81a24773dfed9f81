"""The commands of `actionwatch`, but for `run`."""
