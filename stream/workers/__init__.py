"""From windows that are due to workers, and their answers back, over ZeroMQ."""
