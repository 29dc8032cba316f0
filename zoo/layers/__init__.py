"""What networks and losses are built from."""
