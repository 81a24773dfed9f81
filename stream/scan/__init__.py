"""Recorded videos scanned whole, as fast as the worker allows."""
