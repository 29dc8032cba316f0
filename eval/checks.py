"""The checks that metrics make first."""

from collections.abc import Iterator, Sequence

import numpy as np

from eval.features.images import Images, as_uint8
from zoo.registry import UserError


class MetricError(UserError):
    """Features or images cannot be compared; the message says why."""


def checked_pair(features_a: np.ndarray, features_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as float64 (n, d) arrays.

    Raises:
        MetricError: for an array that is not (n, d), has fewer than 2 rows, no columns, NaN or
            infinity, or for different d.
    """
    a, b = (
        _checked(features, name)
        for features, name in ((features_a, "features_a"), (features_b, "features_b"))
    )
    if a.shape[1] != b.shape[1]:
        raise MetricError(
            f"features_a has {a.shape[1]} dimensions, features_b {b.shape[1]}: "
            "both sets need the same extractor"
        )
    return a, b


def _checked(features: np.ndarray, name: str) -> np.ndarray:
    try:
        array = np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MetricError(f"{name} is not an array of real numbers: {error}") from error
    if array.ndim != 2 or array.shape[1] == 0:
        raise MetricError(f"{name} must have the shape (images, dimensions), got {array.shape}")
    if len(array) < 2:
        raise MetricError(f"{name} holds {len(array)} image(s); a spread needs at least 2")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array).all(axis=1)).sum())
        raise MetricError(f"{name} holds NaN or infinity in {bad} of {len(array)} rows")
    return array


def checked_pairs(images: Images, truths: Images) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images beside their truths, both uint8 H W 3.

    Raises:
        MetricError: for different numbers or sizes, or none at all.
    """
    if len(images) != len(truths):
        raise MetricError(f"{len(images)} images cannot be paired with {len(truths)} truths")
    if len(images) == 0:
        raise MetricError("there are no images to compare with their truths")
    for i, pair in enumerate(zip(as_uint8(images), as_uint8(truths), strict=True)):
        if pair[0].shape != pair[1].shape:
            raise MetricError(f"image {i} is {pair[0].shape}, its truth {pair[1].shape}")
        yield pair


def checked_values(values: Sequence[float] | np.ndarray, where: str = "") -> np.ndarray:
    """Numbers as a float64 array (n,).

    Args:
        values: any numbers.
        where: what begins a message.

    Raises:
        MetricError: for none at all, NaN or infinity.
    """
    found = np.asarray(values, float).ravel()
    if len(found) == 0:
        raise MetricError(f"{where}there are no values")
    if not np.isfinite(found).all():
        raise MetricError(
            f"{where}NaN or infinity in {int((~np.isfinite(found)).sum())} of {len(found)} values"
        )
    return found
