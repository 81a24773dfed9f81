"""What the page and programs ask for: routes and WebSockets."""
