"""Evaluation of a model: metrics, plots, an HTML report."""
