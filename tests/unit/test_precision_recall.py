"""Precision, recall, density and coverage against double loops and closed forms."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import neighbours
from eval.checks import MetricError
from eval.metrics.precision_recall import precision_recall
from eval.resampling import REALS, draw


def normal(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def values(fake, real) -> dict[str, float]:
    return {name: value.value for name, value in precision_recall(fake, real).items()}


def by_hand(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    def apart(p, q):
        return float(np.sqrt(sum((a - b) ** 2 for a, b in zip(p, q, strict=True))))

    def radii(points, k):
        others = range(len(points))
        return [
            sorted(apart(points[i], points[j]) for j in others if j != i)[k - 1] for i in others
        ]

    fake, real = list(fake), list(real)  # rows that are the same object every time
    real3, real5, fake3 = radii(real, 3), radii(real, 5), radii(fake, 3)
    n, m = len(fake), len(real)
    d = [[apart(f, r) for r in real] for f in fake]
    return {
        "precision": sum(any(d[i][j] <= real3[j] for j in range(m)) for i in range(n)) / n,
        "recall": sum(any(d[i][j] <= fake3[i] for i in range(n)) for j in range(m)) / m,
        "density": sum(d[i][j] <= real5[j] for i in range(n) for j in range(m)) / (5 * n),
        "coverage": sum(any(d[i][j] <= real5[j] for i in range(n)) for j in range(m)) / m,
    }


@pytest.mark.parametrize(("n", "m", "d"), [(12, 17, 2), (9, 8, 6), (6, 6, 40)])
def test_equals_a_double_loop(n, m, d):
    fake, real = normal(0, n, d) * 1.2 + 0.5, normal(1, m, d)
    assert values(fake, real) == pytest.approx(by_hand(fake, real))


def test_a_set_with_itself():
    x = normal(0, 60, 8)
    found = values(x, x)
    assert found == pytest.approx({"precision": 1, "recall": 1, "density": 6 / 5, "coverage": 1})


def test_equal_images_are_like_one_another():
    assert values(np.ones((9, 4)), np.ones((7, 4))) == {
        "precision": 1, "recall": 1, "density": 7 / 5, "coverage": 1,
    }  # fmt: skip


def test_far_apart_is_zero():
    assert set(values(normal(0, 50, 8) + 100, normal(1, 50, 8)).values()) == {0}


def test_one_distribution_has_density_about_one():
    found = [values(normal(2 * i, 200, 4), normal(2 * i + 1, 200, 4)) for i in range(10)]
    assert np.mean([f["density"] for f in found]) == pytest.approx(1, abs=0.05)
    assert np.mean([f["coverage"] for f in found]) > 0.95


def test_collapse_lowers_recall_and_coverage_and_leaves_precision():
    real = normal(1, 200, 4)
    found = values(0.1 * normal(0, 200, 4), real)
    assert found["precision"] > 0.95
    assert found["density"] > 1.3  # all in the middle, where balls overlap
    assert found["recall"] < 0.1
    assert found["coverage"] < 0.6


def test_one_outlier_among_the_real_raises_precision_and_hardly_density():
    """What density is for (Naeem et al. 2020, Fig. 1)."""
    fake, real = normal(0, 100, 8) + 4, normal(1, 100, 8)
    stretched = np.vstack([real, np.full((1, 8), 4.0)])
    before, after = values(fake, real), values(fake, stretched)
    assert before["precision"] < 0.1
    assert after["precision"] > 0.9
    assert after["density"] < 0.4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_rotation_scale_shift_and_order_change_nothing(seed, scale):
    fake, real = normal(seed, 20, 5) + 0.5, normal(seed + 1, 25, 5)
    turn = np.linalg.qr(normal(seed + 2, 5, 5))[0] * scale
    want = values(fake, real)
    assert values(fake @ turn + 3, real @ turn + 3) == pytest.approx(want)
    assert values(fake[::-1], real[::-1]) == pytest.approx(want)


def test_precision_is_recall_the_other_way_round():
    fake, real = normal(0, 40, 3) + 0.5, normal(1, 30, 3)
    assert values(fake, real)["precision"] == values(real, fake)["recall"]


def test_blocks_change_nothing_and_bound_memory(monkeypatch):
    fake, real = normal(0, 700, 4) + 0.5, normal(1, 650, 4)
    whole = values(fake, real)
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", 64)
    assert values(fake, real) == whole
    tracemalloc.start()
    values(normal(0, 3000, 2), normal(1, 3000, 2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 3000  # one byte for each pair; distances alone would be eight


@pytest.mark.parametrize(("n", "m", "who"), [(5, 50, "5 translations"), (50, 3, "3 real images")])
def test_too_few_images_are_refused(n, m, who):
    with pytest.raises(MetricError, match=rf"{who}; .* need 6 images at least"):
        precision_recall(normal(0, n, 4), normal(1, m, 4))


def test_values_of_images_average_to_the_score():
    found = precision_recall(normal(0, 40, 4) + 0.3, normal(1, 50, 4))
    for name in ("precision", "density"):
        assert found[name].per_image.mean() == pytest.approx(found[name].value)
        assert len(found[name].per_image) == 40
    assert found["recall"].per_image is None


def test_resamples_equal_a_loop_over_them():
    fake, real = normal(0, 30, 3) + 0.3, normal(1, 40, 3)
    rows, real_rows = draw(0, 30, 60), draw(0, 40, 60, REALS)
    found = precision_recall(fake, real, rows, real_rows)
    d = np.linalg.norm(fake[:, None] - real[None], axis=2)
    near, cover, own = (
        np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, k]
        for x, k in ((real, 3), (real, 5), (fake, 3))
    )
    loop: dict[str, list[float]] = {name: [] for name in found}
    for f, r in zip(rows, real_rows, strict=True):
        within = d[np.ix_(f, r)]
        loop["precision"].append((within <= near[r]).any(1).mean())
        loop["recall"].append((within <= own[f][:, None]).any(0).mean())
        loop["density"].append((within <= cover[r]).sum() / 5 / len(f))
        loop["coverage"].append((within <= cover[r]).any(0).mean())
    for name, value in found.items():
        want = np.array(loop[name]) - np.mean(loop[name]) + value.value
        want = want.clip(0, None if name == "density" else 1)
        assert value.resampled == pytest.approx(want, abs=1e-6), name


def test_spread_of_resamples_is_not_below_that_of_new_images():
    """Near 1 it is larger, up to twice, as a resample leaves a third of the images out."""
    found, spread = [], []
    for i in range(25):
        fake, real = normal(2 * i, 80, 5) + 0.4, normal(2 * i + 1, 80, 5)
        one = precision_recall(fake, real, draw(i, 80, 100), draw(i, 80, 100, REALS))
        found.append([value.value for value in one.values()])
        spread.append([value.resampled.std() for value in one.values()])
    ratio = np.mean(spread, 0) / np.std(found, 0)
    assert (ratio > 0.75).all()
    assert (ratio < 2.5).all()
