"""Training of the embedded model on synthetic clips."""
