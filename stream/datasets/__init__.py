"""Recorded samples, and reviewed events exported as training data."""
