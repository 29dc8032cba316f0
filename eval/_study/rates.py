"""Rates of answers with intervals from a bootstrap over participants and their trials.

A participant's answers are alike, so trials of all participants are no independent sample: each
resample draws participants with replacement, and of each as many trials as there were.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_AT_ONCE = 500  # resamples, which bounds memory for many participants


@dataclass(frozen=True)
class Rate:
    """A share in percent.

    Attributes:
        percent: of trials.
        low: lower end of the 95 % interval, percent.
        high: upper end.
        spread: standard deviation of the resamples, which papers print after ±.
    """

    percent: float
    low: float
    high: float
    spread: float


def resampled(counts: NDArray[np.int64], seed: int, resamples: int = RESAMPLES) -> NDArray:
    """Counts of each answer in resamples over participants and trials.

    Args:
        counts: participants x answers: how often each gave which.
        seed: of the draws.
        resamples: how many.

    Returns:
        float64, resamples x answers.
    """
    rng = np.random.default_rng(seed)
    trials = counts.sum(axis=1)
    shares = counts / trials[:, None]
    found = []
    for start in range(0, resamples, _AT_ONCE):
        rows = min(_AT_ONCE, resamples - start)
        who = rng.integers(len(counts), size=(rows, len(counts)))
        found.append(rng.multinomial(trials[who], shares[who]).sum(axis=1))
    return np.concatenate(found).astype(np.float64)


def rate(hits: float, total: float, drawn_hits: NDArray, drawn_total: NDArray) -> Rate:
    """A share and its interval.

    Args:
        hits: answers of the kind.
        total: answers among which they are, not 0.
        drawn_hits: the same in resamples.
        drawn_total: the same in resamples; those with none are left out.
    """
    has = drawn_total > 0
    shares = 100 * drawn_hits[has] / drawn_total[has]
    low, high = np.percentile(shares, [2.5, 97.5])
    return Rate(100 * hits / total, float(low), float(high), float(shares.std()))
