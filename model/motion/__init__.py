"""The embedded model: drawn clips, how it learns from them, and how good it is."""
