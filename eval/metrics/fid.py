"""Fréchet distance between two sets of features; FID on Inception's (Heusel et al. 2017, Eq. 6)."""

from eval.distances import frechet_distance

__all__ = ["frechet_distance"]
