"""Evaluation: features, metrics, scores of runs, reports."""
