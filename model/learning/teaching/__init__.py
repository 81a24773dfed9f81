"""A few takes: a new classifier on a network that stays as it is."""
