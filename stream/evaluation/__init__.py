"""Detected events against ground truth. Pure."""
