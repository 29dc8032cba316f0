"""Fréchet distance between two sets of features; FID on Inception's (Heusel et al. 2017, Eq. 6).

d² = |µa - µb|² + tr(Σa) + tr(Σb) - 2 tr((Σa Σb)^½), with unbiased covariances. Published code takes
a general matrix square root, which is slow, complex for singular products, and runs for minutes on
NaN. Two equal forms avoid it:

- with A, B the centred features over sqrt(n - 1), so that Σ = AᵀA, the last trace is the nuclear
  norm (sum of singular values) of A Bᵀ, an na x nb matrix: best for few images;
- it is also the trace of (Σa^½ Σb Σa^½)^½, by two symmetric eigendecompositions of d x d: best for
  many.
"""

import numpy as np

from eval.checks import checked_pair


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Squared Fréchet distance of two Gaussians fitted to the features.

    Args:
        features_a: (n, d), one row an image, n >= 2.
        features_b: (m, d), m >= 2.

    Returns:
        A number >= 0; rounding below 0 is set to 0. The unit is that of the features, squared.

    Raises:
        MetricError: for fewer than 2 rows, NaN, infinity, or different d.
    """
    a, b = checked_pair(features_a, features_b)
    mean_a, mean_b = a.mean(0), b.mean(0)
    a = (a - mean_a) / np.sqrt(len(a) - 1)
    b = (b - mean_b) / np.sqrt(len(b) - 1)
    few = min(len(a), len(b)) < a.shape[1]
    overlap = _nuclear_norm(a @ b.T) if few else _root_trace(a.T @ a, b.T @ b)
    difference = mean_a - mean_b
    return float(max(0.0, difference @ difference + (a**2).sum() + (b**2).sum() - 2 * overlap))


def _nuclear_norm(matrix: np.ndarray) -> float:
    return np.linalg.svd(matrix, compute_uv=False).sum()


def _root_trace(sigma_a: np.ndarray, sigma_b: np.ndarray) -> float:
    """tr((Σa^½ Σb Σa^½)^½), both symmetric and positive semi-definite."""
    values, vectors = np.linalg.eigh(sigma_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return np.sqrt(np.linalg.eigvalsh(root @ sigma_b @ root).clip(0)).sum()
