"""Distances between features, a block of rows at a time, so that memory stays bounded."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

BLOCK_ROWS = 512


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Euclidean distances of all rows of x from all rows of y.

    Sums of squared differences, not by matrix products: equal rows are at 0 exactly, and a distance
    does not depend on what else is in a block.

    Args:
        x: float64 (n, d).
        y: float64 (m, d).

    Yields:
        The rows of x in a block, and their distances (rows, m).
    """
    for start in range(0, len(x), BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, len(x)))
        yield rows, cdist(x[rows], y)


def neighbour_distances(x: np.ndarray, k: list[int]) -> np.ndarray:
    """Distance of each row from its k-th nearest other row.

    Args:
        x: float64 (n, d), n > max(k).
        k: which neighbours.

    Returns:
        float64 (len(k), n).
    """
    found = np.empty((len(k), len(x)))
    for rows, distances in distance_blocks(x, x):  # 0 from itself: the k-th other is at place k
        found[:, rows] = np.partition(distances, k, axis=1)[:, k].T
    return found
