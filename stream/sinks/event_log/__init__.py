"""The event log: schema, queries, and the thread that writes it."""
