"""Do translations differ from one another as much as real images of the target do?"""

from dataclasses import dataclass

import numpy as np

from eval.checks import MetricError, checked_pair
from eval.metric import Column, Evaluated, Value
from eval.neighbours import distance_blocks
from eval.resampling import around, times_drawn
from zoo.registry import METRICS


@METRICS.register("diversity")
class Diversity:
    """Mean distance between translations over that between real images; 0 for one face."""

    needs = frozenset({"features"})
    columns = {"diversity": Column("Spread / real spread", "higher", 1, 3)}
    on_untranslated = True
    default = "evaluation"

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config):
        self.config = config

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "diversity"."""
        assert data.features_of is not None
        fake, real = checked_pair(data.features_of("images"), data.features_of("reals"))
        among_fakes, among_reals = mean_distance(fake), mean_distance(real)
        if among_reals == 0:
            raise MetricError("all real images have the same features")
        value = float(among_fakes / among_reals)
        if data.resamples is None or data.resamples_of_reals is None:
            return {"diversity": Value(value=value)}
        among = resampled_distances(real, data.resamples_of_reals)
        if not among.all():  # of few real images, one alone was drawn
            return {"diversity": Value(value=value)}
        resampled = resampled_distances(fake, data.resamples) / among
        return {"diversity": Value(value=value, resampled=around(resampled, value))}


def mean_distance(features: np.ndarray) -> float:
    """Euclidean distance of two different rows, averaged over all pairs.

    Args:
        features: float64 (n, d), n >= 2.
    """
    once = np.ones((1, len(features)))
    return float(_weighted(features, once)[0])


def resampled_distances(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The same on bootstrap resamples; an image that was drawn twice makes no pair with itself.

    Args:
        features: float64 (n, d).
        rows: (resamples, n) row numbers.

    Returns:
        float64 (resamples,).
    """
    return _weighted(features, times_drawn(rows))


def _weighted(features: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Σ_{i≠j} w_i w_j d_ij / Σ_{i≠j} w_i w_j for each row of weights."""
    sums = np.zeros(len(times))
    for rows, distances in distance_blocks(features, features):
        sums += ((times[:, rows] @ distances) * times).sum(1)
    pairs = times.sum(1) ** 2 - (times**2).sum(1)
    return np.divide(sums, pairs, out=np.zeros(len(times)), where=pairs > 0)
