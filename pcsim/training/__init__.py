"""Training: data, runs and learning curves."""
