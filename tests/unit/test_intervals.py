"""Intervals over images: unbiased, paired, and as wide as they say, with controls that are not."""

import json

import numpy as np
import pytest

from eval import resampling
from eval.metrics.fid import frechet_distance, resampled_frechet
from eval.metrics.kid import kernel_distances_of_subsets, resampled_kernel_distances
from eval.resamples import read_resamples
from eval.resampling import REALS, around, draw, interval, resampled_means, times_drawn
from eval.runner import evaluate_run
from eval.scores import read_scores
from tests.unit.run_folders import write_checkpoint, write_recipe
from zoo.registry import UserError

# Resamples ---------------------------------------------------------------------------------------


def test_resamples_depend_on_the_seed_and_the_number_alone():
    rows = draw(3, 20, 50)
    assert rows.shape == (50, 20)
    draw.cache_clear()
    assert (draw(3, 20, 50) == rows).all()
    assert (draw(3, 20, 80)[:50] == rows).all()  # more of them are the same and further ones
    for other in (draw(4, 20, 50), draw(3, 20, 50, REALS)):
        assert (other != rows).any()


def test_times_drawn_counts_rows():
    rows = np.array([[0, 0, 2], [1, 2, 0]])
    assert times_drawn(rows).tolist() == [[2, 0, 1], [1, 1, 1]]
    values = np.array([1.0, 10.0, 100.0])
    assert resampled_means(values, rows) == pytest.approx(values[rows].mean(1))


def test_around_moves_the_mean_and_nothing_else():
    resampled = np.array([3.0, 5.0, 7.0])
    assert around(resampled, 1.0).tolist() == [-1, 1, 3]
    assert interval(np.array([1.0, np.nan])) is None
    assert interval(None) is None


# KID ---------------------------------------------------------------------------------------------


def _every_resample(n: int) -> np.ndarray:
    """Times drawn in all n^n resamples of n rows, each as likely as another."""
    return times_drawn(np.stack(np.meshgrid(*[np.arange(n)] * n), -1).reshape(-1, n))


def test_a_resampled_kid_is_unbiased():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), rng.normal(0.5, size=(4, 3))
    whole = kernel_distances_of_subsets(x, y, np.arange(4)[None], np.arange(4)[None]).item()

    drawn = _every_resample(4)
    able = drawn.max(1) < 4  # one image alone makes no pair
    fixed = np.ones((able.sum(), 4))
    for_x = resampled_kernel_distances(x, y, drawn[able], fixed)
    for_y = resampled_kernel_distances(x, y, fixed, drawn[able])
    assert for_x.mean() == pytest.approx(whole, rel=1e-10)
    assert for_y.mean() == pytest.approx(whole, rel=1e-10)

    paired = resampled_kernel_distances(x, y, drawn[able], paired=True)
    assert paired.mean() == pytest.approx(whole, rel=1e-10)

    naive = _naive(x, y, drawn[able])  # with pairs of an image and itself
    assert naive.mean() > whole + 0.3 * abs(whole)


def _naive(x: np.ndarray, y: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    n = len(x)
    rows = [np.repeat(np.arange(n), counts.astype(int)) for counts in drawn]
    everything = np.arange(n)[None]
    return np.array([
        kernel_distances_of_subsets(x[row], y, everything, everything).item() for row in rows
    ])  # fmt: skip


def test_each_image_drawn_once_gives_the_estimate():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 5)), rng.normal(size=(7, 5))
    once = resampled_kernel_distances(x, y, np.ones((1, 9)), np.ones((1, 7)))
    x_, y_ = x[:7], y
    whole = kernel_distances_of_subsets(x_, y_, np.arange(7)[None], np.arange(7)[None])
    assert resampled_kernel_distances(x_, y_, np.ones((1, 7)), paired=True) == pytest.approx(whole)
    kernel = (np.concatenate([x, y]) @ np.concatenate([x, y]).T / 5 + 1) ** 3
    a, b, c = kernel[:9, :9], kernel[9:, 9:], kernel[:9, 9:]
    by_hand = (a.sum() - np.trace(a)) / 72 + (b.sum() - np.trace(b)) / 42 - 2 * c.mean()
    assert once.item() == pytest.approx(by_hand)


# FID ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "d"), [(12, 9, 30), (60, 50, 6)])
def test_the_first_order_of_fid_is_its_derivative(n, m, d):
    """Weights moved a little, against the distance of weighted sets computed anew."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(n, d)), rng.normal(0.3, 1.2, size=(m, d))
    value = frechet_distance(a, b)
    one = np.arange(n)[None].repeat(2, 0)
    one[1, 0] = 1  # row 1 twice, row 0 not at all
    slopes = resampled_frechet(a, b, value, one, np.arange(m)[None].repeat(2, 0))
    step = 1e-5
    weights = np.ones(n)
    weights[[0, 1]] += [-step, step]
    moved = _weighted_frechet(a, weights, b) - _weighted_frechet(a, np.ones(n), b)
    assert slopes[1] - slopes[0] == pytest.approx(moved / step, rel=1e-3)


def _weighted_frechet(a: np.ndarray, weights: np.ndarray, b: np.ndarray) -> float:
    mean = weights @ a / len(a)
    root_a = np.sqrt(weights / (len(a) - 1))[:, None] * (a - mean)
    root_b = (b - b.mean(0)) / np.sqrt(len(b) - 1)
    shift = mean - b.mean(0)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return shift @ shift + (root_a**2).sum() + (root_b**2).sum() - 2 * overlap


# Coverage ----------------------------------------------------------------------------------------

DIM = 8


def _sample(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    scales = np.geomspace(2, 0.3, DIM)
    return rng.normal(size=(n, DIM)) * scales, rng.normal(size=(n, DIM)) * scales * 1.3 + 0.4


def _kid(x, y):
    rows = np.arange(len(x))[None]
    return kernel_distances_of_subsets(x, y, rows, rows).item()


def _resampled(score: str, x: np.ndarray, y: np.ndarray, seed: int) -> tuple[float, np.ndarray]:
    rows, reals = draw(seed, len(x), 300), draw(seed, len(y), 300, REALS)
    if score == "kid":
        return _kid(x, y), resampled_kernel_distances(x, y, times_drawn(rows), times_drawn(reals))
    if score == "fid":
        value = frechet_distance(x, y)
        return value, resampled_frechet(x, y, value, rows, reals)
    values = np.abs(x).mean(1)
    return values.mean(), resampled_means(values, rows)


@pytest.mark.parametrize("score", ["mean", "kid", "fid"])
def test_an_interval_holds_the_expectation_as_often_as_it_says(score):
    """And one that is half as wide does not: the test can tell."""
    rng = np.random.default_rng(5)
    function = {"kid": _kid, "fid": frechet_distance, "mean": lambda x, y: np.abs(x).mean()}[score]
    expected = np.mean([function(*_sample(rng, 60)) for _ in range(800)])
    trials, held, held_by_half = 200, 0, 0
    for trial in range(trials):
        value, resampled = _resampled(score, *_sample(rng, 60), seed=trial)
        low, high = interval(resampled)
        held += low <= expected <= high
        held_by_half += (value + low) / 2 <= expected <= (value + high) / 2
    assert 0.90 <= held / trials <= 0.99
    assert held_by_half / trials < 0.85


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(6)
    hard = rng.normal(size=200)  # how hard each image is, for every method
    first, second = hard + 0.1 * rng.normal(size=200), hard + 0.2 + 0.1 * rng.normal(size=200)
    paired = resampled_means(second, draw(0, 200)) - resampled_means(first, draw(0, 200))
    apart = resampled_means(second, draw(1, 200)) - resampled_means(first, draw(0, 200))
    assert paired.std() < 0.2 * apart.std()
    assert interval(paired)[0] > 0.1
    assert interval(apart)[0] < 0.1


# Files -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    write_recipe(folder, num_test=6)
    write_checkpoint(folder)
    evaluate_run(folder, seed=2)
    return folder


def test_every_score_has_its_interval_and_its_resamples(run):
    stored = read_resamples(run / "resamples.npz")
    scored = [s for s in read_scores(run / "scores.json") if s.value is not None]
    assert scored
    for score in scored:
        if score.low is None:
            continue  # of so few images that a resample can lack what the score needs
        assert score.low <= score.value <= score.high
        assert score.interval == "95% bootstrap over images, 1000 resamples"
        resampled = stored[f"{score.translator}/{score.metric}/{score.direction}"]
        assert (resampled.dtype, resampled.shape) == (np.float32, (1000,))
        assert interval(resampled) == pytest.approx((score.low, score.high), rel=1e-4)
    sure = {s.metric for s in scored if s.low is not None and s.low < s.value < s.high}
    assert sure >= {"fid", "kid_target", "kid_source_target_mean", "l1", "ssim"}
    own = stored["per_image/run/l1/b2a"]
    value = next(s.value for s in scored if s.key == "l1/b2a" and s.translator == "run")
    assert own.mean() == pytest.approx(value, rel=1e-5)
    means = own[resampling.draw(2, 6)].mean(1)
    assert stored["run/l1/b2a"] == pytest.approx(means, rel=1e-5)


def test_a_broken_file_of_resamples_is_refused(run, tmp_path):
    whole = (run / "resamples.npz").read_bytes()
    for content in (whole[:200], b"", b"\x80\x04pickled", whole[: len(whole) // 2]):
        (tmp_path / "resamples.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"resamples\.npz: cannot be read"):
            read_resamples(tmp_path / "resamples.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="cannot be read"):
        read_resamples(tmp_path / "objects.npz")
    with pytest.raises(UserError, match="cannot be read"):
        read_resamples(tmp_path / "missing.npz")


def test_scores_written_before_there_were_intervals_are_read(run, tmp_path):
    content = json.loads((run / "scores.json").read_text())
    for record in content["records"]:
        for key in ("low", "high", "interval", "looks"):
            del record[key]
    (tmp_path / "scores.json").write_text(json.dumps(content))
    old = read_scores(tmp_path / "scores.json")
    assert {(s.low, s.high, s.interval, s.looks) for s in old} == {(None,) * 4}
    assert [s.value for s in old] == [s.value for s in read_scores(run / "scores.json")]
