"""Films of events and of takes."""
