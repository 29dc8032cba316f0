"""The Fréchet distance against closed forms, its own symmetries, and two other implementations."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eval.checks import MetricError
from eval.metrics.fid import frechet_distance


def normal(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def with_moments(mean: np.ndarray, covariance: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Features whose sample mean and unbiased covariance are exactly these."""
    x = normal(seed, n, len(mean))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T).reshape(len(mean), -1))).T
    return mean + x @ np.linalg.cholesky(covariance).T


def test_one_dimension():
    # (µa - µb)² + (σa - σb)²
    a = with_moments(np.array([1.0]), np.array([[4.0]]), 50, 0)
    b = with_moments(np.array([-2.0]), np.array([[0.25]]), 70, 1)
    assert frechet_distance(a, b) == pytest.approx(9 + 1.5**2)


@pytest.mark.parametrize("n", [40, 12])  # both forms: above and below the dimension
def test_diagonal_covariances(n):
    rng = np.random.default_rng(3)
    deviations = rng.uniform(0.1, 3, (2, 16))
    means = rng.normal(size=(2, 16))
    if n > 16:
        a, b = (
            with_moments(m, np.diag(s**2), n, i)
            for i, (m, s) in enumerate(zip(means, deviations, strict=True))
        )
        want = ((means[0] - means[1]) ** 2).sum() + ((deviations[0] - deviations[1]) ** 2).sum()
    else:  # few samples: the same points, axes scaled, so that Σa and Σb are congruent
        a = normal(0, n, 16)
        b = 3 * a + 1
        want = (2**2) * np.cov(a.T).trace() + ((3 * a + 1 - a).mean(0) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(want)


def test_commuting_covariances():
    rotation = np.linalg.qr(normal(1, 8, 8))[0]
    deviations = np.random.default_rng(2).uniform(0.2, 2, (2, 8))
    a, b = (
        with_moments(np.zeros(8), rotation @ np.diag(s**2) @ rotation.T, 60, i)
        for i, s in enumerate(deviations)
    )
    assert frechet_distance(a, b) == pytest.approx(((deviations[0] - deviations[1]) ** 2).sum())


@pytest.mark.parametrize(("n", "m", "d"), [(60, 80, 10), (8, 9, 30), (8, 90, 30)])
def test_symmetries(n, m, d):
    a, b = normal(0, n, d) @ np.diag(np.linspace(0.1, 2, d)), normal(1, m, d) + 0.3
    distance = frechet_distance(a, b)
    same = {"rel": 1e-9}
    assert frechet_distance(b, a) == pytest.approx(distance, **same)
    assert frechet_distance(a[::-1], b) == pytest.approx(distance, **same)
    assert frechet_distance(a + 5, b + 5) == pytest.approx(distance, **same)
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * distance, **same)
    rotation = np.linalg.qr(normal(2, d, d))[0]
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(distance, **same)
    assert frechet_distance(a, a + 2) == pytest.approx(4 * d, **same)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(2, 8).flatmap(
        lambda n: arrays(np.float64, (n, 5), elements=st.floats(-100, 100, width=16))
    )
)
def test_never_negative(features):
    spread = 1 + (features**2).sum()
    assert 0 <= frechet_distance(features, features) <= 1e-6 * spread
    assert frechet_distance(features, features[:2]) >= 0


def test_rounding_below_zero_is_zero():
    # a set with itself: the exact value is 0, and rounding falls on either side of it
    values = [frechet_distance(x, x) for x in (normal(i, 20, 30) * 1e3 for i in range(20))]
    assert min(values) == 0
    assert max(values) < 1e-6


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (40, 50, 64), (65, 300, 64)])
def test_equals_clean_fid_and_torch_fidelity(n, m, d):
    fid = pytest.importorskip("cleanfid.fid")
    reference = pytest.importorskip("torch_fidelity.metric_fid")
    mixing = normal(5, d, d) / np.sqrt(d)
    a, b = normal(0, n, d) @ mixing, normal(1, m, d) * 1.3 + 0.2
    moments = [(x.mean(0), np.cov(x, rowvar=False)) for x in (a, b)]
    ours = frechet_distance(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # scipy's sqrtm(disp=)
        theirs = fid.frechet_distance(*moments[0], *moments[1])
    singular = min(n, m) <= d  # the square root of a singular product is noisy
    assert ours == pytest.approx(theirs, rel=1e-4 if singular else 1e-6)
    stat_a, stat_b = ({"mu": mu, "sigma": sigma} for mu, sigma in moments)
    fidelity = reference.fid_statistics_to_metric(stat_a, stat_b, verbose=False)
    assert ours == pytest.approx(
        fidelity["frechet_inception_distance"], rel=1e-4 if singular else 1e-6
    )


def test_both_forms_agree(monkeypatch):
    a, b = normal(0, 30, 20), normal(1, 40, 20) * 2
    wide = np.hstack([a, np.zeros((30, 30))]), np.hstack([b, np.zeros((40, 30))])
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(*wide), rel=1e-9)


NAN = np.full((10, 2048), np.nan)
INFINITE = np.where(np.arange(20480).reshape(10, 2048) == 77, np.inf, 0.0)


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (np.zeros((1, 2048)), r"features_a holds 1 image"),
        (np.zeros((0, 2048)), r"features_a holds 0 image"),
        (NAN, r"features_a holds NaN or infinity in 10 of 10 rows"),
        (INFINITE, r"features_a holds NaN or infinity in 1 of 10 rows"),
        (np.zeros((10, 512)), r"features_a has 512 dimensions, features_b 2048"),
        (np.zeros(2048), r"features_a must have the shape \(images, dimensions\), got \(2048,\)"),
        (np.zeros((10, 0)), r"got \(10, 0\)"),
        ([["a", "b"]], r"features_a is not an array of real numbers"),
    ],
)
def test_unusable_features_are_refused_at_once(features, reason):
    start = time.perf_counter()
    with pytest.raises(MetricError, match=reason):
        frechet_distance(features, normal(0, 10, 2048))
    assert time.perf_counter() - start < 1


def test_constant_features():
    assert frechet_distance(np.ones((5, 7)), np.ones((9, 7))) == 0
    assert frechet_distance(np.ones((5, 7)), np.zeros((9, 7))) == 7


def test_few_images_of_many_dimensions_are_fast():
    # a general matrix square root takes about 18 s here
    a, b = normal(0, 200, 2048).astype(np.float32), normal(1, 200, 2048).astype(np.float32)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        frechet_distance(a, b)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.18
