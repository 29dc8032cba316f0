"""Discriminators: one architecture, one file."""
