"""The Fréchet distance between two sets of features, and how it varies with the images.

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
from eval.resampling import around, times_drawn


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


def resampled_frechet(
    features_a: np.ndarray,
    features_b: np.ndarray,
    value: float,
    rows_a: np.ndarray,
    rows_b: np.ndarray,
) -> np.ndarray:
    """The distance on bootstrap resamples, to first order in how often each image is drawn.

    Computed anew, it would be biased upward, as a resample holds fewer distinct images, and have a
    spread up to twice that of new samples where images are few for the dimension; each resample
    would also cost as much as the distance. The first order has neither fault: with w and v the
    times that rows are drawn, and P = U Vᵀ from the singular vectors of M = A Bᵀ (see above),

        d² + Σ (w_i - 1) g_i + Σ (v_j - 1) h_j,
        g_i = 2 (µa - µb)·a_i / n + |A_i|² - (P ∘ M)_i·1

    with a_i the centred feature and A_i the same over sqrt(n - 1); h likewise.

    Args:
        features_a: (n, d).
        features_b: (m, d).
        value: their distance.
        rows_a: (resamples, n) row numbers.
        rows_b: (resamples, m).

    Returns:
        float64 (resamples,), with `value` as its mean.
    """
    a, b = checked_pair(features_a, features_b)
    difference = a.mean(0) - b.mean(0)
    a, b = a - a.mean(0), b - b.mean(0)
    shift_a, shift_b = 2 * a @ difference / len(a), -2 * b @ difference / len(b)
    a, b = a / np.sqrt(len(a) - 1), b / np.sqrt(len(b) - 1)
    overlap_a, overlap_b = _overlaps(a, b)
    slope_a = shift_a + (a**2).sum(1) - overlap_a
    slope_b = shift_b + (b**2).sum(1) - overlap_b
    moved = (times_drawn(rows_a) - 1) @ slope_a + (times_drawn(rows_b) - 1) @ slope_b
    return around(moved, value)


def _overlaps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the rows and of the columns of P ∘ M, without M where that is larger than d x d."""
    if min(len(a), len(b)) <= a.shape[1]:
        product = a @ b.T
        left, values, right = np.linalg.svd(product, full_matrices=False)
        kept = values > 1e-10 * values[0]
        shares = (left[:, kept] @ right[kept]) * product
        return shares.sum(1), shares.sum(0)
    # M = A Bᵀ = Qa (Ra Rbᵀ) Qbᵀ by two QR decompositions; P has the same form.
    (basis_a, root_a), (basis_b, root_b) = np.linalg.qr(a), np.linalg.qr(b)
    left, values, right = np.linalg.svd(root_a @ root_b.T)
    kept = values > 1e-10 * values[0]
    turn = left[:, kept] @ right[kept]
    return (
        ((basis_a @ turn @ root_b) * a).sum(1),
        ((basis_b @ turn.T @ root_a) * b).sum(1),
    )


def _nuclear_norm(matrix: np.ndarray) -> float:
    return np.linalg.svd(matrix, compute_uv=False).sum()


def _root_trace(sigma_a: np.ndarray, sigma_b: np.ndarray) -> float:
    """tr((Σa^½ Σb Σa^½)^½), both symmetric and positive semi-definite."""
    values, vectors = np.linalg.eigh(sigma_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return np.sqrt(np.linalg.eigvalsh(root @ sigma_b @ root).clip(0)).sum()
