"""Cameras: a thread per camera keeps its source open and distributes its frames."""
