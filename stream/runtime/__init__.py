"""What every package needs: threads, files, locks, secrets, logging, metrics."""
