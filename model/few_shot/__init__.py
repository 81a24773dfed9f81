"""A new classifier on a frozen network, fitted to a few samples."""
