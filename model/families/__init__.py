"""Model families: the networks that a checkpoint's config.json can name."""
