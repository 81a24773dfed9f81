"""Cameras: one thread per camera keeps its source open and passes frames on."""
