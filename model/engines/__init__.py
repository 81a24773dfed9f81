"""Inference engines: torch and OpenVINO, and the layers that they run."""
