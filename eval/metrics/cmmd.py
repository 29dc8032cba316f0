"""Maximum mean discrepancy of CLIP's embeddings, CMMD.

Paper: Jayasumana et al. 2024, "Rethinking FID: Towards a Better Evaluation Metric for Image
Generation", §4. Kernel k(x, y) = exp(-|x - y|² / (2 σ²)) with σ = 10 on embeddings of length 1;

    1000 [mean_{i,j} k(x_i, x_j) + mean_{i,j} k(y_i, y_j) - 2 mean_{i,j} k(x_i, y_j)],

Gretton et al. 2012, Eq. 5: with i = j in the first two means, hence 0 for equal sets, never below
0, and above it for two samples of one distribution, by 1000 (1/n + 1/m) times the mean of 1 - k.
"""

from dataclasses import dataclass

import numpy as np

from eval.checks import checked_pair
from eval.features.own import OwnFeatures
from eval.metric import Column, Evaluated, Value
from eval.resampling import around, times_drawn
from zoo.registry import METRICS

SIGMA = 10.0
SCALE = 1000.0
BLOCK_ROWS = 1024  # rows of a kernel matrix held at a time


@METRICS.register("cmmd")
class Cmmd:
    """Kernel distance of CLIP's image embeddings to real images (Jayasumana et al. 2024).

    It assumes no normal distribution and, unlike FID, hardly depends on the number of images.
    """

    needs: frozenset[str] = frozenset()
    columns = {"cmmd": Column("CMMD", "lower", 1, 3)}
    on_untranslated = True

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set: σ and the network are those of the paper."""

    def __init__(self, config: Config):
        self.features = OwnFeatures("clip-vitl14-336")

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "cmmd"."""
        fake, real = self.features.pair(data)
        value = clip_mmd(fake, real)
        resampled = None
        if data.resamples is not None and data.resamples_of_reals is not None:
            drawn = times_drawn(data.resamples), times_drawn(data.resamples_of_reals)
            resampled = around(resampled_clip_mmd(fake, real, *drawn), value)
        fields = self.features.record(data)
        return {"cmmd": Value(value=value, resampled=resampled, fields=fields)}


def clip_mmd(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """The formula above.

    Args:
        features_a: (n, d), one row an image.
        features_b: (m, d).

    Raises:
        MetricError: for fewer than 2 rows, NaN, infinity, or different d.
    """
    once = (np.ones((1, len(features))) for features in (features_a, features_b))
    return max(0.0, float(resampled_clip_mmd(features_a, features_b, *once)[0]))


def resampled_clip_mmd(
    features_a: np.ndarray, features_b: np.ndarray, times_a: np.ndarray, times_b: np.ndarray
) -> np.ndarray:
    """The formula on resamples, every kernel value computed once for all of them.

    Args:
        features_a: (n, d).
        features_b: (m, d).
        times_a: (resamples, n) how often each row is in each resample.
        times_b: (resamples, m).

    Returns:
        float64 (resamples,).
    """
    a, b = checked_pair(features_a, features_b)
    share_a, share_b = (times / times.sum(1, keepdims=True) for times in (times_a, times_b))
    within = _kernel_means(a, a, share_a, share_a) + _kernel_means(b, b, share_b, share_b)
    return SCALE * (within - 2 * _kernel_means(a, b, share_a, share_b))


def _kernel_means(
    x: np.ndarray, y: np.ndarray, share_x: np.ndarray, share_y: np.ndarray
) -> np.ndarray:
    means = np.zeros(len(share_x))
    squares = (y**2).sum(1)
    for start in range(0, len(x), BLOCK_ROWS):
        rows = x[start : start + BLOCK_ROWS]
        squared_distances = (rows**2).sum(1)[:, None] + squares - 2 * rows @ y.T
        kernel = np.exp(-squared_distances.clip(0) / (2 * SIGMA**2))
        means += ((share_x[:, start : start + BLOCK_ROWS] @ kernel) * share_y).sum(1)
    return means
