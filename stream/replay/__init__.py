"""Detects events in stored scores with other thresholds."""
