"""The REST API and the WebSockets."""
