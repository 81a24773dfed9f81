"""Labeled segments of videos: reading, splitting, checking."""
