"""Train on translated images, test on real ones: what a translation is worth for a task."""
