"""Scans video files as fast as the worker allows."""
