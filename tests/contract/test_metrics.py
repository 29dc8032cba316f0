"""Every registered metric gives numbers or a reason, at once, and moves nothing else."""

import math
import random
import tempfile
import time
from dataclasses import replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from eval import resampling
from eval.checks import MetricError
from eval.metric import NEEDS, Column, Evaluated, Value
from eval.scorer import LabelledImages
from eval.scores import Score
from zoo.downloads import MissingWeights
from zoo.registry import METRICS

SIZE = 32
SECONDS = 1.0  # of the processor, for a case that cannot be scored or is tiny
# What a metric's number for one image may depend on beside that image and its own counterparts.
OF_ALL_IMAGES = {"attributes": "each class counts alike, whose images have to be counted"}
DRAWS = {"kid": "it averages over random subsets of rows"}


def buildable() -> tuple[list[str], dict[str, str]]:
    """Metrics that can be built without any file of weights, and why others cannot.

    What needs weights is tested with those; so the same is tested here on every machine.
    """
    able, lacking = [], {}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as empty:
        patch.setenv("ZOO_WEIGHTS", empty)
        for name in METRICS.names():
            try:
                METRICS.default(name).build()
                able.append(name)
            except MissingWeights as error:
                lacking[name] = str(error).partition("\n")[0]
    return able, lacking


ABLE, LACKING = buildable()


def pictures(count: int, seed: int) -> np.ndarray:
    """Smooth pictures with a bright or a dark square: what `labels` tells."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (count, 4, 4, 3)).repeat(SIZE // 4, 1).repeat(SIZE // 4, 2)
    images = coarse + rng.integers(0, 20, coarse.shape)
    for image, label in zip(images, labels(count), strict=True):
        image[8:20, 8:20] = 250 if label["bright"] else 5
    return images.astype(np.uint8)


def labels(count: int) -> list[dict]:
    return [{"bright": i % 2 == 0} for i in range(count)]


def features(images, dim: int = 12) -> np.ndarray:
    flat = np.asarray(images, float).reshape(len(images), SIZE * SIZE * 3)
    mixing = np.random.default_rng(9).standard_normal((SIZE * SIZE * 3, dim)) / 1000
    return (flat @ mixing).astype(np.float32)


def evaluated(
    count: int = 24, *, images=None, reals: int = 30, dim: int = 12, resamples: int = 0, order=None
) -> Evaluated:
    """Everything a metric can ask for; translations are the inverted sources unless given."""
    sources = pictures(count, 0)
    images = 255 - sources if images is None else images
    known = labels(count)
    if order is not None:
        sources, images, known = sources[order], images[order], [known[i] for i in order]
    targets = 255 - pictures(reals, 1)
    sets = {"images": images, "reals": targets, "sources": sources}
    for array in sets.values():
        array.flags.writeable = False
    kept = {role: features(pictures_, dim) for role, pictures_ in sets.items()}
    drawn = {}
    if resamples:
        drawn = {
            "resamples": resampling.draw(0, count, resamples),
            "resamples_of_reals": resampling.draw(0, reals, resamples, resampling.REALS),
        }
    return Evaluated(
        direction="a2b",
        sources=list(sources),
        images=list(images),
        reals=list(targets),
        truths=list(255 - sources),
        source_labels=known,
        target_labelled=LabelledImages(list(255 - pictures(48, 2)), labels(48)),
        translate=lambda given, direction: [255 - picture for picture in given],
        directions=("a2b", "b2a"),
        features_of=kept.__getitem__,
        **drawn,
    )


def check(owner, values: dict[str, Value], count: int) -> None:
    """What a metric may return."""
    assert values
    assert set(values) <= set(owner.columns)
    for value in values.values():
        if value.value is None:
            assert value.reason
            continue
        assert math.isfinite(value.value)
        if value.per_image is not None:
            assert value.per_image.shape == (count,)
            assert value.per_image.mean() == pytest.approx(value.value)
        if value.resampled is not None:
            assert value.resampled.ndim == 1
            assert np.isfinite(value.resampled).all()
        Score(metric="x", direction="a2b", translator="run", value=0.0, **value.fields)


@pytest.fixture(params=ABLE)
def name(request) -> str:
    return request.param


@pytest.fixture
def metric(name):
    return METRICS.default(name).build()


# What it says about itself -----------------------------------------------------------------------


def test_only_what_needs_weights_is_left_out_here():
    assert {"fid", "kid", "l1", "ssim", "edges", "attributes", "precision_recall"} <= set(ABLE)
    assert all(reason for reason in LACKING.values())


@pytest.mark.parametrize("name", METRICS.names())
def test_declares_itself(name):
    owner = METRICS[name]
    assert owner.needs <= set(NEEDS)
    assert owner.columns
    assert isinstance(owner.on_untranslated, bool)
    assert getattr(owner, "default", "") in ("always", "evaluation", "")
    for column in owner.columns.values():
        assert column.title
        assert column.better in get_args(get_type_hints(Column)["better"])


def test_no_two_metrics_have_a_score_of_one_name():
    scores = [score for name in METRICS.names() for score in METRICS[name].columns]
    assert len(scores) == len(set(scores))


# What it computes --------------------------------------------------------------------------------


def test_scores(name, metric):
    values = metric(evaluated())
    check(METRICS[name], values, 24)
    assert set(values) == set(METRICS[name].columns)
    assert all(value.value is not None for value in values.values())


def test_resamples_do_not_move_the_value(name, metric):
    plain, drawn = metric(evaluated()), metric(evaluated(resamples=60))
    check(METRICS[name], drawn, 24)
    for score, value in drawn.items():
        assert value.value == pytest.approx(plain[score].value)
        if value.resampled is not None:
            assert value.resampled.shape == (60,)
            slack = 5 * value.resampled.std()
            assert value.resampled.mean() == pytest.approx(value.value, abs=slack)


def test_order_of_images_changes_nothing(name, metric):
    order = np.random.default_rng(0).permutation(24)
    values, again = metric(evaluated()), metric(evaluated(order=order))
    for score, value in values.items():
        slack = 3 * value.std if name in DRAWS else 1e-6
        assert again[score].value == pytest.approx(value.value, rel=1e-6, abs=slack)
        if value.per_image is not None:
            assert again[score].per_image == pytest.approx(value.per_image[order], abs=1e-6)


def test_a_number_of_an_image_does_not_depend_on_other_images(name, metric):
    if name in OF_ALL_IMAGES:
        pytest.skip(OF_ALL_IMAGES[name])
    whole, part = metric(evaluated()), metric(evaluated(order=np.arange(10)))
    for score, value in whole.items():
        if value.per_image is not None:
            assert part[score].per_image == pytest.approx(value.per_image[:10], abs=1e-6)


def test_the_same_every_time_and_random_numbers_left_alone(name, metric):
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    values = metric(evaluated(resamples=60))
    again = METRICS.default(name).build()(evaluated(resamples=60))
    for score, value in values.items():
        assert again[score].value == value.value
        if value.resampled is not None:
            assert (again[score].resampled == value.resampled).all()
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert (torch.get_rng_state() == states[2]).all()


def test_untranslated_images(name, metric):
    if not METRICS[name].on_untranslated:
        pytest.skip("it cannot be had of untranslated images")
    data = evaluated(images=pictures(24, 0))
    check(METRICS[name], metric(replace(data, untranslated=True)), 24)


# What it cannot compute --------------------------------------------------------------------------


def constant(count: int) -> np.ndarray:
    return np.full((count, SIZE, SIZE, 3), 128, np.uint8)


def all_constant() -> Evaluated:
    data = evaluated(images=constant(24))
    same = {role: np.zeros((24, 12), np.float32) for role in ("images", "reals", "sources")}
    return replace(
        data,
        sources=list(constant(24)),
        truths=list(constant(24)),
        reals=list(constant(24)),
        target_labelled=LabelledImages(list(constant(48)), labels(48)),
        features_of=same.__getitem__,
    )


def with_bad_features(value: float) -> Evaluated:
    data = evaluated()
    good, bad = features(data.reals), features(data.images)
    bad[3, 5] = value
    kept = {"images": bad, "reals": good, "sources": good}
    return replace(data, features_of=kept.__getitem__)


HARD = {
    "no images": lambda: evaluated(0),
    "one image": lambda: evaluated(1, resamples=60),
    "two images": lambda: evaluated(2, resamples=60),
    "one real image": lambda: evaluated(reals=1),
    "two real images": lambda: evaluated(reals=2, resamples=60),
    "fewer images than dimensions": lambda: evaluated(dim=300, resamples=60),
    "translations all alike": lambda: evaluated(images=constant(24), resamples=60),
    "all images alike": all_constant,
    "NaN in a feature": lambda: with_bad_features(np.nan),
    "infinity in a feature": lambda: with_bad_features(np.inf),
    "one label": lambda: replace(evaluated(), source_labels=[{"bright": True}] * 24),
    "no labels": lambda: replace(evaluated(), source_labels=[{}] * 24),
}


@pytest.mark.parametrize("case", HARD)
def test_hard_cases_give_a_number_or_a_reason_at_once(name, metric, case):
    data = HARD[case]()
    start = time.process_time()
    try:
        values = metric(data)
    except MetricError:
        pass
    else:
        check(METRICS[name], values, len(data.images))
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("case", ["NaN in a feature", "infinity in a feature"])
def test_bad_features_are_refused_and_not_scored(name, metric, case):
    if "features" not in METRICS[name].needs:
        pytest.skip("it needs no features")
    with pytest.raises(MetricError, match="NaN or infinity"):
        metric(HARD[case]())


def test_no_images_are_never_scored(metric):
    with pytest.raises(MetricError):
        metric(HARD["no images"]())
