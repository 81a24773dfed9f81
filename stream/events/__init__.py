"""Turns scores into events: the detector, and the thread that runs it."""
