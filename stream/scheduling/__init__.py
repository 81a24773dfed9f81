"""Which window is scored next: window grid, stream registry, scheduler."""
