"""Published checkpoints as run folders: one file for each family's names and shapes."""
