"""Tests between methods on the same images, rank correlations, what remains of many tests."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from eval.checks import MetricError, checked_values
from eval.statistics import LEVEL

FEWEST_RANKS = 5  # below, no interval of a rank correlation
PERMUTATIONS = 9999
BATCH = 500  # permutations held at a time


class PairedTest(NamedTuple):
    """Two methods on the same images.

    Attributes:
        difference: mean of a less mean of b.
        low: lower end of its interval, Student's t over images.
        high: upper end.
        p: of the permutation test, two-sided: methods are exchanged at random within each image.
        wilcoxon_p: of the signed-rank test, two-sided.
        n: images.
    """

    difference: float
    low: float
    high: float
    p: float
    wilcoxon_p: float
    n: int


class RankCorrelation(NamedTuple):
    """Spearman's rank correlation.

    Attributes:
        value: -1 to 1.
        low: lower end of its interval; None for fewer than FEWEST_RANKS pairs.
        high: upper end.
        p: of no correlation, two-sided.
        n: pairs.
    """

    value: float
    low: float | None
    high: float | None
    p: float
    n: int


def paired_test(
    per_image_a: Sequence[float] | np.ndarray,
    per_image_b: Sequence[float] | np.ndarray,
    level: float = LEVEL,
    seed: int = 0,
) -> PairedTest:
    """Test two methods on the same images, by one number for each image.

    It counts images only: a difference that it finds may be one of two seeds, not of two methods.

    Args:
        per_image_a: (n,) of one method.
        per_image_b: (n,) of the other, in the same order.
        level: of the interval.
        seed: of the permutations, where 2^n are too many to try all.

    Raises:
        MetricError: for other numbers of images, fewer than 2, or NaN.
    """
    a, b = checked_values(per_image_a), checked_values(per_image_b)
    if len(a) != len(b) or len(a) < 2:
        raise MetricError(
            f"a paired test needs as many images for both and at least 2, got {len(a)} and {len(b)}"
        )
    apart = a - b
    mean = float(apart.mean())
    error = float(apart.std(ddof=1) / np.sqrt(len(apart)))
    half = float(stats.t.ppf((1 + level) / 2, len(apart) - 1)) * error
    if not apart.any():
        return PairedTest(0.0, 0.0, 0.0, 1.0, 1.0, len(a))
    found = stats.permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        n_resamples=PERMUTATIONS,
        batch=BATCH,
        rng=np.random.default_rng(seed),
    )
    signed = stats.wilcoxon(apart)
    return PairedTest(
        mean, mean - half, mean + half, float(found.pvalue), float(signed.pvalue), len(a)
    )


def rank_correlation(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    level: float = LEVEL,
    resamples: int = 2000,
    seed: int = 0,
) -> RankCorrelation:
    """Spearman's rank correlation over runs, with a bootstrap interval over runs.

    Runs of one method count as independent; where they are alike, the interval is too narrow.

    Args:
        x: one number for each run.
        y: the other.
        level: of the interval.
        resamples: of the runs.
        seed: of their draws.

    Raises:
        MetricError: for other numbers of runs, fewer than 3, NaN, or values that are all equal.
    """
    first, second = checked_values(x), checked_values(y)
    if len(first) != len(second) or len(first) < 3:
        raise MetricError(
            "a rank correlation needs as many numbers on both sides and at least 3, "
            f"got {len(first)} and {len(second)}"
        )
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise MetricError("a rank correlation needs numbers that differ; those of one side do not")
    found = stats.spearmanr(first, second)
    low = high = None
    if len(first) >= FEWEST_RANKS:
        rows = np.random.default_rng(seed).integers(len(first), size=(resamples, len(first)))
        low, high = np.quantile(
            _spearman(first[rows], second[rows]), [(1 - level) / 2, (1 + level) / 2]
        ).tolist()
    return RankCorrelation(float(found.statistic), low, high, float(found.pvalue), len(first))


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each row; rows in which one side is constant are left out."""
    x, y = stats.rankdata(x, axis=1), stats.rankdata(y, axis=1)
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    norms = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    varied = norms > 0
    return (x * y).sum(1)[varied] / norms[varied]


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values of several tests, adjusted so that a level holds for all together (Holm 1979).

    Args:
        p: (tests,).

    Returns:
        (tests,), in the same order; below a level for the tests that stay significant at it.

    Raises:
        MetricError: for values that are no probabilities.
    """
    values = np.asarray(p, float).ravel()
    if not ((values >= 0) & (values <= 1)).all():
        raise MetricError(f"p-values lie in [0, 1], got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = steps.clip(max=1)
    return adjusted
