"""Event formats: CSV, JSON Lines, Parquet, WebVTT, ActivityNet, ELAN."""
