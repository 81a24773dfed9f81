"""Stored scores segmented again with other thresholds."""
