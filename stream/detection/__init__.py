"""From scores to events; live, and again from kept scores."""
