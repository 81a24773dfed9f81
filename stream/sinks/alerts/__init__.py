"""Alerts by webhook and MQTT, each with a queue on disk."""
