"""Intervals over images and seeds, and differences between methods.

A score varies for two reasons: other test images, and another seed of the training. Images are
counted by bootstrap: `resampled` holds the score on each resample of the test images, resample k
being the same for every run, so that a difference between runs is paired. Seeds are counted by
their spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from eval.checks import MetricError, checked_values
from eval.comparison import Difference, Interval

LEVEL = 0.95
FEWEST_RESAMPLES = 50  # below, the spread of resamples says little


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
    found = checked_values(values)
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
        values = checked_values(row.values, f"{row.label}: ")
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
