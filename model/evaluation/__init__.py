"""How good a model is: metrics, plots, an HTML report."""
