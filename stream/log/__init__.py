"""What is kept: events in a database, scores in files, for as long as they may stay."""
