"""Alerts by webhook and MQTT, each with a queue on disk."""

from stream.sinks.alerts.alerts import Alerts as Alerts  # registers itself
