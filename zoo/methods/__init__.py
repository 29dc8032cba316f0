"""Methods: one training step, one file."""
