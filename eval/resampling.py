"""Bootstrap over images: which images a resample holds, and the interval of what it gives.

Resample k is drawn from the seed and the number of images alone, so that it holds the same rows for
every method and every run: a difference between two methods, taken resample by resample, is paired.
Images and the real ones they are compared with are drawn apart, each by its own stream.
"""

from functools import lru_cache

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
IMAGES, REALS = 0, 1  # streams of random numbers


@lru_cache(maxsize=8)
def draw(seed: int, num_images: int, resamples: int = RESAMPLES, stream: int = IMAGES):
    """Row numbers with replacement.

    Returns:
        int32 (resamples, num_images), not to be written to.
    """
    rng = np.random.default_rng([seed, num_images, stream])
    rows = rng.integers(num_images, size=(resamples, num_images), dtype=np.int32)
    rows.flags.writeable = False
    return rows


def times_drawn(rows: np.ndarray) -> np.ndarray:
    """How often each image is in each resample.

    Args:
        rows: (resamples, n) row numbers below n.

    Returns:
        float64 (resamples, n); each row adds up to n.
    """
    resamples, n = rows.shape
    offset = rows + np.arange(resamples)[:, None] * n
    counts = np.bincount(offset.ravel(), minlength=resamples * n)
    return counts.reshape(resamples, n).astype(np.float64)


def resampled_means(per_image: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The mean over each resample: (resamples,).

    Args:
        per_image: (n,) one number an image.
        rows: (resamples, n).
    """
    return times_drawn(rows) @ np.asarray(per_image, np.float64) / len(per_image)


def around(resampled: np.ndarray, value: float) -> np.ndarray:
    """The same spread with its mean at `value`, for scores whose resamples are biased.

    A resample holds about 63 % of the images, some of them several times, which moves scores that
    depend on the number of distinct images, such as FID.
    """
    resampled = np.asarray(resampled, np.float64)
    return resampled - resampled.mean() + value


def interval(resampled: np.ndarray | None) -> tuple[float, float] | None:
    """The ends between which 95 % of the resampled scores lie; None where there are none."""
    if resampled is None or len(resampled) == 0 or not np.isfinite(resampled).all():
        return None
    rest = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(resampled, [rest, 100 - rest])
    return float(low), float(high)


def described(resamples: int) -> str:
    """What an interval is, for a record."""
    return f"{LEVEL:.0%} bootstrap over images, {resamples} resamples"
