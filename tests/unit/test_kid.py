"""The kernel distance against a double loop, its expectation, and clean-fid."""

import math
import time

import numpy as np
import pytest

from eval.checks import MetricError
from eval.metrics.kid import (
    kernel_distance,
    kernel_distances_of_subsets,
    kid_source_target_mean,
    resolve_subset_size,
)


def normal(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def whole(features: np.ndarray) -> np.ndarray:
    return np.arange(len(features))[None]


def by_hand(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(p, q):
        return (sum(a * b for a, b in zip(p, q, strict=True)) / len(p) + 1) ** 3

    m = len(x)
    within = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(m) for j in range(m) if i != j)
    across = sum(kernel(p, q) for p in x for q in y)
    return within / (m * (m - 1)) - 2 * across / m**2


def test_equals_a_double_loop():
    x, y = normal(0, 5, 3), normal(1, 5, 3) + 0.5
    value = kernel_distances_of_subsets(x, y, whole(x), whole(y)).item()
    assert value == pytest.approx(by_hand(x, y), rel=1e-12)


def test_subsets_equal_a_double_loop_each():
    x, y = normal(0, 11, 3), normal(1, 7, 3) + 0.5
    rows_x, rows_y = np.array([[0, 3, 10, 4], [9, 8, 7, 6]]), np.array([[6, 0, 1, 2], [3, 4, 5, 6]])
    values = kernel_distances_of_subsets(x, y, rows_x, rows_y)
    expected = [by_hand(x[i], y[j]) for i, j in zip(rows_x, rows_y, strict=True)]
    assert values == pytest.approx(expected, rel=1e-12)


def test_blocks_change_nothing(monkeypatch):
    x, y = normal(0, 50, 8), normal(1, 40, 8)
    before = kernel_distance(x, y, num_subsets=5)
    monkeypatch.setattr("eval.metrics.kid.BLOCK_ROWS", 7)
    assert kernel_distance(x, y, num_subsets=5).mean == pytest.approx(before.mean, rel=1e-12)


def test_equals_clean_fid():
    fid = pytest.importorskip("cleanfid.fid")
    x, y = normal(0, 60, 16), normal(1, 60, 16) * 1.2
    theirs = fid.kernel_distance(x, y, num_subsets=1, max_subset_size=1000)
    ours = kernel_distance(x, y, subset_size=60, num_subsets=1)
    assert ours.mean == pytest.approx(theirs, rel=1e-10)
    assert math.isnan(ours.std)
    assert ours.record()["std"] is None


def test_unbiased_for_one_distribution():
    values = [
        kernel_distance(normal(2 * i, 30, 5), normal(2 * i + 1, 30, 5), num_subsets=10).mean
        for i in range(200)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_symmetric_without_subsets_and_grows_with_a_shift():
    x, y = normal(0, 50, 8), normal(1, 50, 8)
    values = [
        kernel_distance(x, y + shift, subset_size=50, num_subsets=1).mean
        for shift in (0, 0.25, 0.5, 1)
    ]
    assert values == sorted(values)
    forth = kernel_distances_of_subsets(x, y, whole(x), whole(y))
    back = kernel_distances_of_subsets(y, x, whole(y), whole(x))
    assert forth == pytest.approx(back, rel=1e-12)


def test_mean_over_subsets_estimates_the_same_number():
    x, y = normal(0, 200, 8), normal(1, 200, 8) + 0.5
    all_once = kernel_distances_of_subsets(x, y, whole(x), whole(y)).item()
    subsets = kernel_distance(x, y, num_subsets=400)
    assert subsets.mean == pytest.approx(all_once, abs=5 * subsets.std / 20)


def test_seeded_and_the_global_generator_is_left_alone():
    x, y = normal(0, 60, 8), normal(1, 60, 8)
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = kernel_distance(x, y, seed=3)
    np.random.seed(8)  # noqa: NPY002
    assert kernel_distance(x, y, seed=3) == first
    assert kernel_distance(x, y, seed=4).mean != first.mean
    np.random.seed(7)  # noqa: NPY002
    kernel_distance(x, y)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_auto_subsets_have_a_spread_and_everything_is_recorded():
    x, y = normal(0, 31, 8), normal(1, 90, 8)
    result = kernel_distance(x, y, num_subsets=20, seed=5)
    assert result.std > 0
    assert result.record() == {
        "mean": result.mean,
        "std": result.std,
        "subset_size": 15,
        "num_subsets": 20,
        "seed": 5,
        "num_a": 31,
        "num_b": 90,
    }
    assert resolve_subset_size("auto", 100, 5000, 6000) == 1000


def test_source_target_mean():
    fake, target, source = normal(0, 40, 8), normal(1, 50, 8), normal(2, 60, 8) + 1
    mean = kid_source_target_mean(fake, target, source, num_subsets=200)
    to_target = kernel_distance(fake, target, num_subsets=200)
    to_source = kernel_distance(fake, source, num_subsets=200)
    assert to_source.mean > 2 * abs(to_target.mean)
    assert mean.mean == pytest.approx((to_target.mean + to_source.mean) / 2, abs=mean.std / 3)
    assert (mean.num_a, mean.num_b, mean.subset_size) == (40, 50, 20)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"subset_size": 41}, "subset_size 41 is more than the smaller set's 40 images"),
        ({"subset_size": 40}, "40 is the whole smaller set: 100 subsets would repeat it"),
        ({"subset_size": 1}, "must be 'auto' or an integer >= 2, got 1"),
        ({"subset_size": "all"}, "must be 'auto' or an integer >= 2, got 'all'"),
        ({"num_subsets": 0}, "num_subsets must be at least 1, got 0"),
    ],
)
def test_subsets_that_cannot_be(options, reason):
    with pytest.raises(MetricError, match=reason):
        kernel_distance(normal(0, 40, 8), normal(1, 50, 8), **options)


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (np.zeros((0, 8)), "holds 0 image"),
        (np.zeros((1, 8)), "holds 1 image"),
        (np.zeros((3, 8)), "the smaller set holds 3 images; subsets of half of it need at least 4"),
        (np.full((9, 8), np.nan), "NaN or infinity in 9 of 9 rows"),
        (np.zeros((9, 7)), "7 dimensions, features_b 8"),
    ],
)
def test_unusable_features_are_refused(features, reason):
    with pytest.raises(MetricError, match=reason):
        kernel_distance(features, normal(1, 50, 8))


def test_hundred_subsets_of_thousand_are_fast():
    # drawing and multiplying each subset on its own takes about 9 s here
    x, y = (normal(i, 1000, 2048).astype(np.float32) for i in range(2))
    start = time.perf_counter()
    kernel_distance(x, y, subset_size=500)
    assert time.perf_counter() - start < 3
