"""The configuration: schema by section, loading, comparison and editing of the YAML file."""
