"""From scores to events: the detector, and the thread that runs it."""
