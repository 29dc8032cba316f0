"""Spread of translations: 0 for one face, about 1 for real images, and nothing else matters."""

import numpy as np
import pytest

from eval import neighbours
from eval.checks import MetricError
from eval.metric import Evaluated
from eval.metrics.diversity import Diversity, mean_distance, resampled_distances
from eval.resampling import REALS, draw
from zoo.registry import METRICS


def normal(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def diversity(fake: np.ndarray, real: np.ndarray, **more):
    features = {"images": fake, "reals": real}
    data = Evaluated(
        direction="a2b", sources=[], images=[], reals=[], features_of=features.__getitem__, **more
    )
    return Diversity(METRICS.default("diversity").config)(data)["diversity"]


def test_mean_distance_by_hand():
    x = np.array([[0.0, 0], [3, 4], [6, 8]])
    assert mean_distance(x) == pytest.approx((5 + 5 + 10) / 3)


def test_one_face_is_zero_and_real_images_are_one():
    real = normal(0, 200, 16)
    assert diversity(np.tile(real[:1], (50, 1)), real).value == 0
    assert diversity(real, real).value == 1
    assert diversity(normal(1, 200, 16), real).value == pytest.approx(1, abs=0.03)


def test_two_faces_half_and_half():
    """Pairs of one face are at 0, all others at the distance of the two."""
    real = normal(0, 100, 16)
    faces = np.repeat(real[:2], 50, axis=0)
    apart = np.linalg.norm(real[0] - real[1]) * 50 * 50 * 2 / (100 * 99)
    assert diversity(faces, real).value == pytest.approx(apart / mean_distance(real))


def test_scale_shift_rotation_and_order():
    fake, real = normal(0, 40, 6), normal(1, 50, 6)
    want = diversity(fake, real).value
    turn = np.linalg.qr(normal(2, 6, 6))[0]
    assert diversity(2 * fake, real).value == pytest.approx(2 * want)
    assert diversity(2 * fake @ turn + 5, 2 * real @ turn).value == pytest.approx(want)
    assert diversity(fake[::-1], real[::-1]).value == pytest.approx(want)


def test_grows_with_the_share_of_different_images():
    real = normal(0, 100, 8)
    found = [
        diversity(np.vstack([normal(1, n, 8), np.zeros((100 - n, 8))]), real).value
        for n in (2, 25, 50, 75, 100)
    ]
    assert found == sorted(found)
    assert found[0] < 0.05
    assert found[-1] == pytest.approx(1, abs=0.05)


def test_blocks_change_nothing(monkeypatch):
    x = normal(0, 70, 4)
    before = mean_distance(x)
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", 16)
    assert mean_distance(x) == pytest.approx(before, rel=1e-12)


def test_resamples_equal_a_loop_without_pairs_of_one_image():
    x, rows = normal(0, 20, 3), draw(0, 20, 60)
    apart = np.linalg.norm(x[:, None] - x[None], axis=2)
    want = []
    for drawn in rows:
        different = drawn[:, None] != drawn[None]
        want.append(apart[np.ix_(drawn, drawn)][different].mean())
    assert resampled_distances(x, rows) == pytest.approx(np.array(want))


def test_interval_covers_the_spread_of_new_images():
    found, spread = [], []
    for i in range(40):
        value = diversity(
            normal(2 * i, 60, 3), normal(2 * i + 1, 60, 3),
            resamples=draw(i, 60, 100), resamples_of_reals=draw(i, 60, 100, REALS),
        )  # fmt: skip
        assert value.resampled.mean() == pytest.approx(value.value)
        found.append(value.value)
        spread.append(value.resampled.std())
    assert np.mean(spread) == pytest.approx(np.std(found), rel=0.35)


def test_real_images_that_are_all_the_same_are_refused():
    with pytest.raises(MetricError, match="all real images have the same features"):
        diversity(normal(0, 10, 3), np.ones((10, 3)))
    with pytest.raises(MetricError, match="1 image"):
        diversity(normal(0, 1, 3), normal(1, 10, 3))


def test_no_interval_of_two_real_images_of_which_one_may_be_drawn_alone():
    drawn = {"resamples": draw(0, 5, 60), "resamples_of_reals": draw(0, 2, 60, REALS)}
    value = diversity(normal(0, 5, 3), normal(1, 2, 3), **drawn)
    assert value.value > 0
    assert value.resampled is None
