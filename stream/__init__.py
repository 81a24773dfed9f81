"""From cameras to events: capture, windows, transport, detection and the event log."""
