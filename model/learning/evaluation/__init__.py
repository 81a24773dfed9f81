"""How good a model is: figures, pictures, a page."""
