"""Shared by all packages: threads, files, locks, secrets, logging, metrics."""
