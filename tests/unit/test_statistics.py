"""Intervals cover what they say, nothing is found in noise, known differences are found."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from eval.checks import MetricError
from eval.comparison import Difference
from eval.metrics.fid import frechet_distance
from eval.significance import holm, paired_test, rank_correlation
from eval.statistics import (
    Row,
    bootstrap_interval,
    difference,
    mean_interval,
    seed_interval,
)

IMAGES, RESAMPLES = 60, 100


def images_and_seeds(rng, seeds, *, means=(0.0, 0.0), of_seed=0.1, alone=1.0, shared=0.5):
    """Scores of two methods on the same images: mean + seed + image + what an image does to one.

    `shared` is what an image does to a method whatever its seed, the other way round in the other
    method, so that pairing does not remove it; `alone` is what it does to one seed.
    """
    image = rng.normal(size=IMAGES) * shared
    rows = rng.integers(IMAGES, size=(RESAMPLES, IMAGES))
    found = []
    for label, k, mean, sign in zip("ab", seeds, means, (1, -1), strict=True):
        of = rng.normal(size=(k, 1)) * of_seed + rng.normal(size=(k, IMAGES)) * alone
        each = mean + sign * image + of
        found.append(
            Row(label=label, values=each.mean(1), resampled=each[:, rows].mean(2))  # type: ignore
        )
    return found


# Intervals ---------------------------------------------------------------------------------------


def test_bootstrap_interval_covers_a_mean():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        x = rng.exponential(size=80)
        means = x[rng.integers(80, size=(200, 80))].mean(1)
        low, high = bootstrap_interval(means, x.mean())
        covered += low <= 1 <= high
    assert 0.90 <= covered / 400 <= 0.99


def test_bootstrap_interval_covers_a_biased_score():
    """The expected FID of so many images; plain quantiles of the resamples lie above it."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 16))
    wanted = np.mean([frechet_distance(rng.normal(size=(40, 16)), real) for _ in range(300)])
    covered = plain = 0
    for _ in range(80):
        x = rng.normal(size=(40, 16))
        found = [frechet_distance(x[rng.integers(40, size=40)], real) for _ in range(60)]
        low, high = bootstrap_interval(np.array(found), frechet_distance(x, real))
        covered += low <= wanted <= high
        plain += np.quantile(found, 0.025) <= wanted <= np.quantile(found, 0.975)
    assert covered / 80 >= 0.85
    assert plain / 80 < 0.3


def test_bootstrap_interval_lies_around_the_value_at_its_level():
    resampled = np.linspace(0, 1, 1001)
    assert bootstrap_interval(resampled, 0.5) == pytest.approx((0.025, 0.975))
    assert bootstrap_interval(resampled, 7, level=0.8) == pytest.approx((6.6, 7.4))
    holes = np.concatenate([resampled, [np.nan, np.inf]])
    assert bootstrap_interval(holes, 0.5) == pytest.approx((0.025, 0.975))
    with pytest.raises(MetricError, match="0 finite resamples"):
        bootstrap_interval(np.full(100, np.nan), 1)


def test_seed_interval_is_students():
    want = stats.t.interval(0.95, 2, loc=2, scale=1 / np.sqrt(3))
    assert seed_interval([1, 2, 3]) == pytest.approx(want)
    assert seed_interval([1.0]) is None
    with pytest.raises(MetricError, match="no values"):
        seed_interval([])
    with pytest.raises(MetricError, match="NaN or infinity in 1 of 2"):
        seed_interval([1, np.nan])


def test_mean_interval_says_what_it_counts():
    rng = np.random.default_rng(0)
    a, b = images_and_seeds(rng, (3, 1))
    assert mean_interval(a).over == "images and seeds"
    assert mean_interval(a).values == pytest.approx(a.values)
    assert mean_interval(a).spread == pytest.approx(np.std(a.values, ddof=1))
    seeds = mean_interval(Row(label="a", values=a.values))
    assert seeds.over == "seeds"
    assert (seeds.low, seeds.high) == pytest.approx(seed_interval(a.values))
    images = mean_interval(b)
    assert images.over == "images"
    assert images.spread is None
    assert (images.low, images.high) == bootstrap_interval(b.resampled[0], b.values[0])
    nothing = mean_interval(Row(label="a", values=[2.0]))
    assert (nothing.value, nothing.low, nothing.high, nothing.over) == (2, None, None, "")


def test_mean_interval_covers_with_both_and_not_with_images_alone():
    rng = np.random.default_rng(1)
    covered = alone = 0
    for _ in range(400):
        row = images_and_seeds(rng, (3, 3), of_seed=0.3)[0]
        found = mean_interval(row)
        covered += found.low <= 0 <= found.high
        low, high = bootstrap_interval(row.resampled.mean(0), found.value)
        alone += low <= 0 <= high
    assert 0.90 <= covered / 400 <= 0.99
    assert alone / 400 < 0.75


# Differences -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seeds", "spreads"),
    [
        ((3, 3), {"of_seed": 0.1, "alone": 1, "shared": 0.1}),
        ((3, 3), {"of_seed": 0.1, "alone": 1, "shared": 1}),
        ((3, 3), {"of_seed": 0.5, "alone": 0.5, "shared": 0.5}),
        ((3, 3), {"of_seed": 0, "alone": 1, "shared": 0}),
        ((3, 3), {"of_seed": 0, "alone": 0, "shared": 1}),
        ((2, 5), {"of_seed": 0.2, "alone": 1, "shared": 0.5}),
        ((3, 1), {"of_seed": 0.3, "alone": 1, "shared": 0.3}),
        ((1, 1), {"of_seed": 0, "alone": 1, "shared": 1}),
    ],
)
def test_equal_methods_tie_95_times_of_100(seeds, spreads):
    rng = np.random.default_rng(0)
    found = [difference(*images_and_seeds(rng, seeds, **spreads)) for _ in range(300)]
    ties = np.mean([d.tie for d in found])
    assert 0.90 <= ties <= 0.99
    assert all(d.tie == (d.p > 0.05) for d in found)


def test_without_the_variance_of_seeds_equal_methods_would_differ():
    rng = np.random.default_rng(0)
    ties = 0
    for _ in range(300):
        a, b = images_and_seeds(rng, (3, 3), of_seed=0.5)
        as_one = [Row(label=r.label, values=[np.mean(r.values)],
                      resampled=r.resampled.mean(0, keepdims=True)) for r in (a, b)]  # fmt: skip
        ties += difference(*as_one).tie
    assert ties / 300 < 0.6


def test_a_known_difference_is_found_and_covered():
    rng = np.random.default_rng(0)
    found = [
        difference(*images_and_seeds(rng, (3, 3), means=(1.0, 0.0), of_seed=0.1))
        for _ in range(200)
    ]
    assert np.mean([d.tie for d in found]) < 0.05
    assert 0.9 <= np.mean([d.low <= 1 <= d.high for d in found]) <= 0.99


def test_pairing_finds_what_unpaired_images_hide():
    """Images differ much, methods little and on every image alike."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=IMAGES)
    rows = rng.integers(IMAGES, size=(RESAMPLES, IMAGES))
    each = {"a": image, "b": image + 0.05 + 0.01 * rng.normal(size=IMAGES)}
    a, b = (Row(label=k, values=[v.mean()], resampled=v[rows].mean(1)[None])
            for k, v in each.items())  # fmt: skip
    assert not difference(a, b).tie
    others = rng.integers(IMAGES, size=(RESAMPLES, IMAGES))
    unpaired = Row(label="b", values=b.values, resampled=each["b"][others].mean(1)[None])
    assert difference(a, unpaired).tie


def test_seeds_alone_are_welchs_test():
    a, b = [1.0, 2, 4], [3.0, 7, 8, 9]
    found = difference(Row(label="a", values=a), Row(label="b", values=b))
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert found.test == "images not counted, Welch over 3 and 4 seeds"


def test_difference_is_antisymmetric_and_fills_every_field():
    a, b = images_and_seeds(np.random.default_rng(0), (3, 2))
    there, back = difference(a, b), difference(b, a)
    assert isinstance(there, Difference)
    assert (there.a, there.b, back.a, back.b) == ("a", "b", "b", "a")
    assert there.value == pytest.approx(-back.value)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == pytest.approx(back.p)
    assert there.test == "paired over images, Welch over 3 and 2 seeds"


def test_words_for_single_seeds():
    a, b = images_and_seeds(np.random.default_rng(0), (3, 1))
    assert difference(a, b).test == (
        "paired over images, Student over 3 and 1 seeds, b's variance taken from a"
    )
    assert "b's variance taken from a" in difference(b, a).test
    a, b = images_and_seeds(np.random.default_rng(0), (1, 1))
    assert difference(a, b).test == "paired over images, one seed each: seeds not counted"
    bare = difference(Row(label="a", values=[1]), Row(label="b", values=[2]))
    assert (bare.value, bare.low, bare.high, bare.p, bare.tie) == (-1, None, None, None, True)
    assert bare.test == "images not counted, one seed each: seeds not counted"


def test_identical_rows_tie_and_certain_ones_do_not():
    same = Row(label="a", values=[1.0, 1.0], resampled=np.ones((2, 60)))
    other = Row(label="b", values=[2.0, 2.0], resampled=np.full((2, 60), 2.0))
    assert (difference(same, same).p, difference(same, same).tie) == (1, True)
    assert (difference(same, other).p, difference(same, other).tie) == (0, False)


def test_resamples_that_are_not_finite_are_left_out_of_both():
    a, b = images_and_seeds(np.random.default_rng(0), (2, 2))
    holes = np.array(a.resampled)
    holes[0, :40] = np.nan
    left = [Row(label=r.label, values=r.values, resampled=r.resampled[:, 40:]) for r in (a, b)]
    assert difference(Row(label="a", values=a.values, resampled=holes), b) == difference(*left)
    holes[1, :120] = np.inf
    few = difference(Row(label="a", values=a.values, resampled=holes), b)
    assert few.test.startswith("images not counted")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"values": []}, "b: there are no values"),
        ({"values": [np.nan]}, "b: NaN or infinity in 1 of 1"),
        ({"values": [1, 2], "resampled": np.ones((1, 60))}, r"b: resampled must .* \(2 seeds"),
        ({"values": [1], "resampled": np.ones((1, 70))}, "60 resamples cannot be paired with 70"),
    ],
)
def test_what_does_not_belong_together_is_refused(row, message):
    a = Row(label="a", values=[1.0], resampled=np.ones((1, 60)))
    with pytest.raises(MetricError, match=message):
        difference(a, Row(label="b", **row))


# Tests on the same images ------------------------------------------------------------------------


def enumerated(apart: np.ndarray) -> float:
    """Exact two-sided p of the sign-flip test: twice the smaller tail, at most 1."""
    flips = np.array(list(product((1, -1), repeat=len(apart))))
    means, seen = flips @ apart, apart.sum()
    tails = (means >= seen - 1e-12).mean(), (means <= seen + 1e-12).mean()
    return min(1.0, 2 * min(tails))


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_paired_test_is_exact_for_few_images(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n) + 0.5, rng.normal(size=n)
    found = paired_test(a, b)
    assert found.p == pytest.approx(enumerated(a - b))
    assert found.n == n
    assert found.difference == pytest.approx((a - b).mean())


def test_all_of_five_images_better():
    assert paired_test([2, 3, 4, 5, 6], [1, 1, 1, 1, 1]).p == pytest.approx(2 / 2**5)
    assert paired_test([1, 2, 3], [1, 2, 3])[:5] == (0, 0, 0, 1, 1)


def test_paired_test_holds_its_level_and_finds_a_shift():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(80, 25)) * 5  # what both methods share
    noise = rng.normal(size=(2, 80, 25))
    null = [paired_test(i + x, i + y).p for i, x, y in zip(image, *noise, strict=True)]
    assert 0.01 <= np.mean(np.array(null) < 0.05) <= 0.10
    shifted = [
        paired_test(i + x + 1.5, i + y).p
        for i, x, y in zip(image[:30], *noise[:, :30], strict=True)
    ]
    assert np.mean(np.array(shifted) < 0.05) > 0.9
    assert stats.ttest_ind(image[0] + noise[0, 0] + 1.5, image[0] + noise[1, 0]).pvalue > 0.05


def test_paired_tests_agree_with_students_and_are_repeatable():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=200) + 0.2, rng.normal(size=200)
    found, theirs = paired_test(a, b), stats.ttest_rel(a, b)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert found.p == pytest.approx(theirs.pvalue, abs=0.01)
    assert found.wilcoxon_p == pytest.approx(theirs.pvalue, abs=0.05)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert paired_test(a, b) == found
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


@pytest.mark.parametrize(
    ("a", "b"), [([], []), ([1.0], [1.0]), ([1, 2], [1, 2, 3]), ([1, np.nan],) * 2]
)
def test_paired_test_refuses(a, b):
    with pytest.raises(MetricError):
        paired_test(a, b)


# Ranks and many tests ----------------------------------------------------------------------------


def test_rank_correlation():
    x = np.arange(12.0)
    assert rank_correlation(x, x**3)[:3] == (1, 1, 1)
    assert rank_correlation(x, -x).value == -1
    rng = np.random.default_rng(0)
    y = x + 3 * rng.normal(size=12)
    found = rank_correlation(x, y)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low < found.value < found.high <= 1
    assert rank_correlation(x, np.round(y / 4)).value == pytest.approx(
        stats.spearmanr(x, np.round(y / 4)).statistic
    )
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4])[1:3] == (None, None)


def test_rank_correlation_of_noise_holds_zero():
    rng = np.random.default_rng(0)
    found = [rank_correlation(*rng.normal(size=(2, 20)), resamples=300) for _ in range(200)]
    assert 0.88 <= np.mean([f.low <= 0 <= f.high for f in found]) <= 0.99


@pytest.mark.parametrize(
    ("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 2])]
)
def test_rank_correlation_refuses(x, y):
    with pytest.raises(MetricError):
        rank_correlation(x, y)


def test_holm():
    # 3 × 0.01, then 2 × 0.02, then the larger of that and 0.03
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert len(holm([])) == 0
    with pytest.raises(MetricError):
        holm([0.1, np.nan])


def test_holm_finds_nothing_in_many_null_tests_where_plain_tests_do():
    p = np.random.default_rng(0).uniform(size=(500, 20))
    assert np.mean([(row < 0.05).any() for row in p]) > 0.5
    assert np.mean([(holm(row) < 0.05).any() for row in p]) < 0.09
