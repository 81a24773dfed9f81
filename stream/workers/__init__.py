"""Worker processes and the encrypted ZeroMQ connection to them."""
