"""Cycle error: what comes back of a source, by closed forms and through real translators."""

import numpy as np
import pytest

from eval.checks import MetricError
from eval.metric import Evaluated
from eval.metrics.cycle_error import CycleError, cycle_error
from zoo.registry import METRICS

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (8, 6, 3), dtype=np.uint8) for _ in range(5)]


def scored(translate, direction="a2b", sources=PICTURES):
    images = translate(sources, direction)
    data = Evaluated(
        direction=direction, sources=sources, images=images, reals=sources,
        translate=translate, directions=("a2b", "b2a"),
    )  # fmt: skip
    metric = CycleError(METRICS.default("cycle_error").config)
    assert all(data.lacks(need) is None for need in metric.needs)
    return metric(data)["cycle_error"]


def darker(pictures, direction):
    """A to B halves, B to A doubles: what is lost is the last bit."""
    return [x // 2 if direction == "a2b" else np.minimum(x.astype(int) * 2, 255).astype(np.uint8)
            for x in pictures]  # fmt: skip


def test_a_translator_that_can_be_undone_loses_nothing():
    assert scored(lambda pictures, _: [255 - x for x in pictures]).value == 0
    assert scored(lambda pictures, _: [x[:, ::-1] for x in pictures], "b2a").value == 0


def test_what_rounding_loses():
    """Half of the pixels are odd and come back one level lower."""
    value = scored(darker)
    odd = [(x % 2).mean() / 255 for x in PICTURES]
    assert value.per_image == pytest.approx(odd)
    assert value.value == pytest.approx(np.mean(odd))


def test_the_way_back_depends_on_the_direction():
    """From B: doubling first loses all that is above 127."""
    lost = [np.maximum(x.astype(int) - 127, 0).mean() / 255 for x in PICTURES]
    assert scored(darker, "b2a").per_image == pytest.approx(lost)


def test_black_against_white_is_one():
    black = [np.zeros((4, 4, 3), np.uint8)]
    assert cycle_error(black, [255 - black[0]]).tolist() == [1]
    assert scored(lambda pictures, _: [np.zeros_like(x) for x in pictures]).value == pytest.approx(
        np.mean([x.mean() / 255 for x in PICTURES])
    )


def test_needs_a_way_back():
    def one_way(**more):
        return Evaluated(direction="a2b", sources=PICTURES, images=PICTURES, reals=PICTURES, **more)

    assert "translates in both directions" in one_way().lacks("back")
    given = one_way(translate=darker, directions=("a2b",))
    assert "translates in both directions" in given.lacks("back")


def test_refuses():
    with pytest.raises(MetricError, match="4 images came back of 5"):
        cycle_error(PICTURES, PICTURES[:4])
    with pytest.raises(MetricError, match=r"source 0 is \(8, 6, 3\), what came back \(4, 6, 3\)"):
        cycle_error(PICTURES, [x[:4] for x in PICTURES])
    with pytest.raises(MetricError, match="no images"):
        scored(darker, sources=[])
