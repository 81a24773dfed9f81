"""The dashboard: web server, API, security and static files."""
