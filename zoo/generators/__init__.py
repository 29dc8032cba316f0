"""Generators: one architecture, one file."""
