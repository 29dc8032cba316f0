"""Intervals, tests between methods, and what remains of many tests.

A score varies for two reasons: other test images, and another seed of the training. Images are
counted by bootstrap: `resampled` holds the score on each resample of the test images, resample k
being the same for every run, so that a difference between runs is paired. Seeds are counted by
their spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from eval.checks import MetricError
from eval.comparison import Difference, Interval

LEVEL = 0.95
FEWEST_RESAMPLES = 50  # below, the spread of resamples says little
FEWEST_RANKS = 5  # below, no interval of a rank correlation
PERMUTATIONS = 9999
BATCH = 500  # permutations held at a time


@dataclass(frozen=True, kw_only=True)
class Row:
    """The scores of one method by one metric, for one direction.

    Attributes:
        label: what it is called.
        values: the score of each seed.
        resampled: (seeds, resamples) the score of each seed on each resample of the test images;
            None where there are no resamples. Those that are not finite are left out.
    """

    label: str
    values: Sequence[float]
    resampled: np.ndarray | None = None


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


# Intervals ---------------------------------------------------------------------------------------


def bootstrap_interval(
    resampled: np.ndarray, value: float, level: float = LEVEL
) -> tuple[float, float]:
    """Interval over test images: of the score that as many other images would give on average.

    Quantiles of the resamples, moved so that their mean lies at `value`: a resample repeats images,
    which shifts FID and KID but says nothing about their spread.

    Args:
        resampled: (resamples,) the score on each resample of the images; not finite: left out.
        value: the score on the images themselves.
        level: of the interval.

    Returns:
        Its ends.

    Raises:
        MetricError: for fewer than FEWEST_RESAMPLES finite resamples.
    """
    found = np.asarray(resampled, float).ravel()
    found = found[np.isfinite(found)]
    if len(found) < FEWEST_RESAMPLES:
        raise MetricError(
            f"{len(found)} finite resamples; an interval needs {FEWEST_RESAMPLES} at least"
        )
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2]) - found.mean()
    return float(value + low), float(value + high)


def seed_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """Student's t interval of the mean over seeds; None for one seed.

    Raises:
        MetricError: for no values, or NaN.
    """
    found = _checked(values)
    if len(found) < 2:
        return None
    half = stats.t.ppf((1 + level) / 2, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return float(found.mean() - half), float(found.mean() + half)


def mean_interval(row: Row, level: float = LEVEL) -> Interval:
    """The mean over seeds, with an interval that counts both seeds and test images.

    One seed: images only, by `bootstrap_interval`. No resamples: seeds only. Neither: no ends.

    Raises:
        MetricError: for no values, NaN, or resamples of another number of seeds.
    """
    parts, _ = _paired(_Parts.of(row), _Parts.of(row))
    values = parts.values
    over = [name for name, known in (("images", parts.known), ("seeds", len(values) > 1)) if known]
    ends: tuple[float | None, float | None] = (None, None)
    if over == ["images"]:
        ends = bootstrap_interval(parts.resampled[0], values[0], level)
    elif over:
        spread = _spread([parts], parts.resampled.mean(0))
        ends = spread.around(float(values.mean()), level)
    return Interval(
        value=float(values.mean()),
        low=ends[0],
        high=ends[1],
        spread=float(values.std(ddof=1)) if len(values) > 1 else None,
        over=" and ".join(over),
        values=[float(value) for value in values],
    )


# Differences -------------------------------------------------------------------------------------


def difference(a: Row, b: Row, level: float = LEVEL) -> Difference:
    """Whether two methods differ, with both seeds and test images counted.

    The variance of the difference of the means is the sum of

    - for each row, the variance over its seeds divided by their number (Welch: no equal variances
      are assumed), and
    - the variance of the difference over paired resamples, less the part in which the seeds of a
      row differ from one another, as the first already holds that.

    Degrees of freedom by Welch and Satterthwaite. A row of one seed beside one of several is given
    the other's variance over seeds; with one seed each, only images are counted. `test` says so.
    Without any interval it is called a tie, as nothing shows a difference.

    Args:
        a: scores of one method.
        b: scores of the other, its resamples of the same test images in the same order.
        level: of the interval.

    Raises:
        MetricError: for no values, NaN, or resamples of other numbers.
    """
    first, second = _paired(_Parts.of(a), _Parts.of(b))
    seeds = [len(first.values), len(second.values)]
    value = float(first.values.mean() - second.values.mean())
    test = _in_words(first.known, seeds, (a.label, b.label))
    if not first.known and max(seeds) == 1:
        return Difference(
            a=a.label, b=b.label, value=value, low=None, high=None, p=None, tie=True, test=test
        )
    spread = _spread([first, second], first.resampled.mean(0) - second.resampled.mean(0))
    low, high = spread.around(value, level)
    return Difference(
        a=a.label,
        b=b.label,
        value=value,
        low=low,
        high=high,
        p=spread.p(value),
        tie=low <= 0 <= high,
        test=test,
    )


def _in_words(images: bool, seeds: Sequence[int], labels: Sequence[str]) -> str:
    """What `difference` does with so many seeds."""
    said = ["paired over images" if images else "images not counted"]
    if max(seeds) == 1:
        said.append("one seed each: seeds not counted")
    elif min(seeds) == 1:
        one = int(np.argmin(seeds))
        said.append(
            f"Student over {seeds[0]} and {seeds[1]} seeds, "
            f"{labels[one]}'s variance taken from {labels[1 - one]}"
        )
    else:
        said.append(f"Welch over {seeds[0]} and {seeds[1]} seeds")
    return ", ".join(said)


@dataclass(frozen=True)
class _Parts:
    """A row's numbers.

    Attributes:
        values: (seeds,).
        resampled: (seeds, resamples), of which there may be none.
    """

    values: np.ndarray
    resampled: np.ndarray

    @classmethod
    def of(cls, row: Row) -> "_Parts":
        values = _checked(row.values, f"{row.label}: ")
        if row.resampled is None:
            return cls(values, np.empty((len(values), 0)))
        resampled = np.asarray(row.resampled, float)
        if resampled.ndim != 2 or len(resampled) != len(values):
            raise MetricError(
                f"{row.label}: resampled must have the shape ({len(values)} seeds, resamples), "
                f"got {resampled.shape}"
            )
        return cls(values, resampled)

    def at(self, columns: np.ndarray) -> "_Parts":
        """With these resamples only."""
        return _Parts(self.values, self.resampled[:, columns])

    @property
    def known(self) -> bool:
        """Whether images are counted."""
        return self.resampled.shape[1] > 0

    @property
    def seed_variance(self) -> float:
        """Between seeds on the same images: of their own, and of what images do to each alone."""
        return float(self.values.var(ddof=1))

    @property
    def own_image_variance(self) -> float:
        """What images do to one seed and not to the others of its row."""
        if len(self.values) == 1 or not self.known:
            return 0.0
        own = self.resampled - self.resampled.mean(0)
        return float(own.var(axis=1, ddof=1).sum() / (len(own) - 1))


def _paired(a: _Parts, b: _Parts) -> tuple[_Parts, _Parts]:
    """Both rows with the resamples that are finite in both; with none if they are too few."""
    if not (a.known and b.known):
        return a.at(np.empty(0, int)), b.at(np.empty(0, int))
    if a.resampled.shape[1] != b.resampled.shape[1]:
        raise MetricError(
            f"{a.resampled.shape[1]} resamples cannot be paired with {b.resampled.shape[1]}"
        )
    finite = np.flatnonzero(np.isfinite(np.concatenate([a.resampled, b.resampled])).all(0))
    finite = finite if len(finite) >= FEWEST_RESAMPLES else finite[:0]
    return a.at(finite), b.at(finite)


@dataclass(frozen=True)
class _Spread:
    """Variance of an estimate and its degrees of freedom."""

    variance: float
    freedom: float

    def around(self, value: float, level: float) -> tuple[float, float]:
        half = float(stats.t.ppf((1 + level) / 2, self.freedom) * np.sqrt(self.variance))
        return value - half, value + half

    def p(self, value: float) -> float:
        if self.variance == 0:
            return float(value == 0)
        return float(2 * stats.t.sf(abs(value) / np.sqrt(self.variance), self.freedom))


def _spread(rows: Sequence[_Parts], resampled: np.ndarray) -> _Spread:
    """Variance of a sum or difference of the means of rows, see `difference`.

    Args:
        rows: one or two.
        resampled: (resamples,) the sum or difference on each resample; may be empty.
    """
    several = [row for row in rows if len(row.values) > 1]
    images = float(resampled.var(ddof=1)) if len(resampled) > 1 else 0.0
    images -= sum(row.own_image_variance / len(row.values) for row in several)
    seeds, freedom = [], []
    for row in several:
        shares = 1 / len(row.values) + (len(several) < len(rows))  # and for the other's one seed
        seeds.append(shares * row.seed_variance)
        freedom.append(len(row.values) - 1)
    total = max(images, 0.0) + sum(seeds)
    squares = sum(v**2 / f for v, f in zip(seeds, freedom, strict=True))
    return _Spread(total, total**2 / squares if squares > 0 else np.inf)


# Tests -------------------------------------------------------------------------------------------


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
    a, b = _checked(per_image_a), _checked(per_image_b)
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
    first, second = _checked(x), _checked(y)
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


def _checked(values: Sequence[float] | np.ndarray, where: str = "") -> np.ndarray:
    found = np.asarray(values, float).ravel()
    if len(found) == 0:
        raise MetricError(f"{where}there are no values")
    if not np.isfinite(found).all():
        raise MetricError(
            f"{where}NaN or infinity in {int((~np.isfinite(found)).sum())} of {len(found)} values"
        )
    return found
