"""Metrics, one file each; none knows another."""
