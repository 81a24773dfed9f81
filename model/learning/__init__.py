"""From a person's clips to a model of their own."""
