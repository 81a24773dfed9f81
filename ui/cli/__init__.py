"""The `actionwatch` command, one module per command group."""
