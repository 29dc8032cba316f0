"""Kernel distance between two sets of features; KID on Inception's.

Paper: Bińkowski et al. 2018, "Demystifying MMD GANs", Eq. 4.

Kernel k(x, y) = (x·y / d + 1)³. A subset of m rows of each set gives

    [Σ_{i≠j} k(x_i, x_j) + Σ_{i≠j} k(y_i, y_j)] / (m (m - 1)) - 2 Σ_{i,j} k(x_i, y_j) / m²

as clean-fid has it: the cross term keeps i = j, as x_i and y_i are not paired. The estimate is
unbiased: 0 on average for two samples of one distribution, hence often below 0, and not 0 for a
set with itself.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np

from eval.checks import MetricError, checked_pair
from eval.metric import Column, Evaluated, Value
from eval.resampling import around, times_drawn
from zoo.registry import METRICS
from zoo.schema import COUNT, Bounds

LARGEST_AUTO_SUBSET = 1000
BLOCK_ROWS = 1024  # rows of a kernel matrix held at a time


@METRICS.register("kid")
class Kid:
    """Kernel distance of the features (Bińkowski et al. 2018): to the target, and U-GAT-IT's mean.

    `kid_target` is what most papers print; `kid_source_target_mean` is half of it plus half of that
    to the sources.
    """

    needs = frozenset({"features"})
    columns = {
        "kid_target": Column("KID × 100 to target", "lower", 100, 2),
        "kid_source_target_mean": Column("KID × 100 source–target mean", "lower", 100, 2),
    }
    on_untranslated = True
    default = "always"

    @dataclass(kw_only=True)
    class Config:
        """How subsets are drawn."""

        subset_size: Annotated[
            int | Literal["auto"],
            "images of each set in a subset; auto: half the smaller set, at most 1000",
            Bounds(least=2),
        ] = "auto"
        num_subsets: Annotated[int, "subsets that the value is the mean of", COUNT] = 100

    def __init__(self, config: Config):
        self.subsets: dict[str, Any] = {
            "subset_size": config.subset_size,
            "num_subsets": config.num_subsets,
        }

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The scores "kid_target" and "kid_source_target_mean"."""
        assert data.features_of is not None
        fake, real = data.features_of("images"), data.features_of("reals")
        found = kernel_distance(fake, real, seed=data.seed, **self.subsets)
        near = None
        if data.resamples is not None and data.resamples_of_reals is not None:
            drawn = times_drawn(data.resamples), times_drawn(data.resamples_of_reals)
            near = resampled_kernel_distances(fake, real, *drawn)
        values = {"kid_target": _value(found, near)}
        if data.untranslated:
            reason = "the untranslated images would be compared with themselves"
            return values | {"kid_source_target_mean": Value.unavailable(reason)}
        sources = data.features_of("sources")
        both = kid_source_target_mean(fake, real, sources, seed=data.seed, **self.subsets)
        if near is not None:
            to_source = resampled_kernel_distances(fake, sources, drawn[0], paired=True)
            near = (near + to_source) / 2
        return values | {"kid_source_target_mean": _value(both, near)}


def _value(found: "KernelDistance", resampled: np.ndarray | None) -> Value:
    """With its resamples around it: they use all images at once, it is a mean over subsets."""
    record = found.record()
    return Value(
        value=found.mean,
        std=found.std,
        spread_over="subsets",
        resampled=None if resampled is None else around(resampled, found.mean),
        fields={key: record[key] for key in ("subset_size", "num_subsets", "seed")},
    )


@dataclass(frozen=True, kw_only=True)
class KernelDistance:
    """A kernel distance with everything needed to repeat it."""

    mean: float  # over subsets; not times 100
    std: float  # over subsets, np.std; nan for a single subset
    subset_size: int
    num_subsets: int
    seed: int
    num_a: int
    num_b: int

    def record(self) -> dict[str, float | int | None]:
        """The fields, for a JSON file; a missing spread is null."""
        fields = asdict(self)
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in fields.items()}


def kernel_distance(
    features_a: np.ndarray,
    features_b: np.ndarray,
    *,
    subset_size: int | str = "auto",
    num_subsets: int = 100,
    seed: int = 0,
) -> KernelDistance:
    """Kernel distance: mean and spread over random subsets.

    Args:
        features_a: (n, d), one row an image.
        features_b: (m, d).
        subset_size: rows of each set in a subset. "auto" is half the smaller set, at most 1000:
            with whole sets every subset would be the same, and the spread 0.
        num_subsets: how many subsets, drawn without replacement within each.
        seed: of the draws; numpy's global generator is neither read nor moved.

    Raises:
        MetricError: for unusable features, or a subset size that the sets cannot give.
    """
    a, b = checked_pair(features_a, features_b)
    size = resolve_subset_size(subset_size, num_subsets, len(a), len(b))
    rng = np.random.default_rng(seed)
    rows_a = _draw(rng, len(a), size, num_subsets)
    rows_b = _draw(rng, len(b), size, num_subsets)
    return _summary(_distances(a, b, rows_a, rows_b), size, seed, a, b)


def kid_source_target_mean(
    fake: np.ndarray,
    target: np.ndarray,
    source: np.ndarray,
    *,
    subset_size: int | str = "auto",
    num_subsets: int = 100,
    seed: int = 0,
) -> KernelDistance:
    """½ [KID(fake, target) + KID(fake, source)], what U-GAT-IT's table seems to hold.

    Kim et al. 2020, Table 3, by the authors' metric code (`mean_kernel_inception_distance`, printed
    times 100). Its values are far above `kernel_distance(fake, target)` and not comparable with it.
    Arguments and errors as there; num_a counts fakes, num_b targets.
    """
    fake_, target_ = checked_pair(fake, target)
    _, source_ = checked_pair(fake, source)
    size = resolve_subset_size(subset_size, num_subsets, len(fake_), len(target_), len(source_))
    rng = np.random.default_rng(seed)
    rows = _draw(rng, len(fake_), size, num_subsets)
    to_target = _distances(fake_, target_, rows, _draw(rng, len(target_), size, num_subsets))
    to_source = _distances(fake_, source_, rows, _draw(rng, len(source_), size, num_subsets))
    return _summary((to_target + to_source) / 2, size, seed, fake_, target_)


def kernel_distances_of_subsets(
    features_a: np.ndarray, features_b: np.ndarray, rows_a: np.ndarray, rows_b: np.ndarray
) -> np.ndarray:
    """The estimate on given subsets.

    Args:
        features_a: (n, d).
        features_b: (m, d).
        rows_a: (subsets, size) row numbers of features_a, distinct within a subset.
        rows_b: the same for features_b.

    Returns:
        float64 (subsets,). One subset of all rows uses everything once.

    Raises:
        MetricError: for unusable features or rows.
    """
    a, b = checked_pair(features_a, features_b)
    rows_a, rows_b = np.asarray(rows_a), np.asarray(rows_b)
    if rows_a.ndim != 2 or rows_a.shape != rows_b.shape or rows_a.shape[1] < 2:
        raise MetricError(
            "rows_a and rows_b must both be (subsets, size) with size >= 2, "
            f"got {rows_a.shape} and {rows_b.shape}"
        )
    return _distances(a, b, rows_a, rows_b)


def resampled_kernel_distances(
    features_a: np.ndarray,
    features_b: np.ndarray,
    drawn_a: np.ndarray,
    drawn_b: np.ndarray | None = None,
    *,
    paired: bool = False,
) -> np.ndarray:
    """The estimate on bootstrap resamples of the images, from the kernel values of all of them.

    An image that was drawn twice makes a pair with itself, whose kernel value is far above that of
    two images. Pairs of the same original image are left out and the rest is weighted up:

        Σ_{i≠j} w_i w_j k(x_i, x_j) / Σ_{i≠j} w_i w_j

    with w_i the times that row i was drawn. By symmetry of the draws every pair i ≠ j has the same
    expected share, so the mean over all draws is the estimate on all images: no bias is added.

    Args:
        features_a: (n, d).
        features_b: (m, d).
        drawn_a: (resamples, n) times that each row is in a resample.
        drawn_b: (resamples, m).
        paired: row i of both sets stands for the same test image, which is drawn or not: `drawn_b`
            is `drawn_a`. The cross term keeps its pairs i = j, as `kernel_distance` does, at their
            share of one in n.

    Returns:
        float64 (resamples,).

    Raises:
        MetricError: for unusable features.
    """
    a, b = checked_pair(features_a, features_b)
    drawn_b = drawn_a if drawn_b is None else drawn_b
    within = _between_different(a, drawn_a) + _between_different(b, drawn_b)
    across = _kernel_sums(a, b, drawn_a, drawn_b)
    if not paired:
        return within - 2 * across / (drawn_a.sum(1) * drawn_b.sum(1))
    n = len(a)
    own = ((a * b).sum(1) / a.shape[1] + 1) ** 3
    others = (across - drawn_a**2 @ own) / _different_pairs(drawn_a)
    return within - 2 * ((n - 1) * others + drawn_a @ own / drawn_a.sum(1)) / n


def _between_different(x: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    sums = _kernel_sums(x, x, drawn, drawn) - drawn**2 @ _kernel_diagonal(x)
    return sums / _different_pairs(drawn)


def _different_pairs(drawn: np.ndarray) -> np.ndarray:
    """Σ_{i≠j} w_i w_j; a resample that holds a single image has none, which gives NaN."""
    pairs = drawn.sum(1) ** 2 - (drawn**2).sum(1)
    return np.where(pairs > 0, pairs, np.nan)


def resolve_subset_size(subset_size: int | str, num_subsets: int, *sizes: int) -> int:
    """The subset size in force for sets of these sizes.

    Raises:
        MetricError: naming what is possible.
    """
    smallest = min(sizes)
    if num_subsets < 1:
        raise MetricError(f"num_subsets must be at least 1, got {num_subsets}")
    if subset_size == "auto":
        if smallest < 4:
            raise MetricError(
                f"the smaller set holds {smallest} images; subsets of half of it need at least 4"
            )
        return min(LARGEST_AUTO_SUBSET, smallest // 2)
    if not isinstance(subset_size, int | np.integer) or subset_size < 2:
        raise MetricError(f"subset_size must be 'auto' or an integer >= 2, got {subset_size!r}")
    if subset_size > smallest:
        raise MetricError(
            f"subset_size {subset_size} is more than the smaller set's {smallest} images"
        )
    if subset_size == smallest and num_subsets > 1:
        raise MetricError(
            f"subset_size {subset_size} is the whole smaller set: {num_subsets} subsets would "
            "repeat it and their spread would mean nothing; use num_subsets=1 or a smaller size"
        )
    return int(subset_size)


def _draw(rng: np.random.Generator, rows: int, size: int, num_subsets: int) -> np.ndarray:
    return np.stack([rng.choice(rows, size, replace=False) for _ in range(num_subsets)])


def _summary(
    values: np.ndarray, size: int, seed: int, a: np.ndarray, b: np.ndarray
) -> KernelDistance:
    return KernelDistance(
        mean=float(values.mean()),
        std=float(values.std()) if len(values) > 1 else float("nan"),
        subset_size=size,
        num_subsets=len(values),
        seed=seed,
        num_a=len(a),
        num_b=len(b),
    )


def _distances(a: np.ndarray, b: np.ndarray, rows_a: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    size = rows_a.shape[1]
    in_a, in_b = _membership(rows_a, len(a)), _membership(rows_b, len(b))
    within = _kernel_sums(a, a, in_a, in_a) - in_a @ _kernel_diagonal(a)
    within += _kernel_sums(b, b, in_b, in_b) - in_b @ _kernel_diagonal(b)
    return within / (size * (size - 1)) - 2 * _kernel_sums(a, b, in_a, in_b) / size**2


def _membership(rows: np.ndarray, n: int) -> np.ndarray:
    """(subsets, n): 1 where a row is in the subset."""
    member = np.zeros((len(rows), n))
    np.put_along_axis(member, rows, 1, axis=1)
    return member


def _kernel_sums(x: np.ndarray, y: np.ndarray, in_x: np.ndarray, in_y: np.ndarray) -> np.ndarray:
    """Σ k(x_i, y_j) over each subset: every kernel value is computed once for all subsets."""
    sums = np.zeros(len(in_x))
    for start in range(0, len(x), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        kernel = (x[block] @ y.T / x.shape[1] + 1) ** 3
        sums += ((in_x[:, block] @ kernel) * in_y).sum(1)
    return sums


def _kernel_diagonal(x: np.ndarray) -> np.ndarray:
    return ((x**2).sum(1) / x.shape[1] + 1) ** 3
