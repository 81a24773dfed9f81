"""Where predictions and events go: event log, scores, clips, alerts, publisher."""
