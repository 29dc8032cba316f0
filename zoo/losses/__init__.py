"""Losses: one equation, one file, under its name in the paper."""
