"""The configuration: its schema, its YAML file, and what of it may change while a watch runs."""
