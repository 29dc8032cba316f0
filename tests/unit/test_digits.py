"""Handwritten digits in two styles."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from sklearn.datasets import load_digits

from zoo.data import digits
from zoo.data.digits import PARTS, Digits
from zoo.registry import UserError


@pytest.fixture(scope="module")
def data():
    return Digits(Digits.Config())


def test_no_digit_is_in_two_parts(data):
    names = [name for split, side in PARTS for name in data.domain(split, side).names]
    assert len(names) == len(set(names)) == 1797


def test_labels_are_those_of_the_scans(data):
    published = load_digits()
    for split, side in PARTS:
        names = data.domain(split, side).names
        known = data.attributes(side, split)
        for name, label in list(zip(names, known, strict=True))[:50]:
            assert published.target[int(name[:4])] == label["digit"]


def test_a_is_the_scan_light_on_black_and_b_is_dark_on_paper(data):
    published = load_digits()
    for i in range(20):
        name, image = data.domain("test", "a").names[i], data.domain("test", "a")[i]
        scan = published.images[int(name[:4])]
        assert (image == image[:, :, :1]).all()  # grey
        assert np.corrcoef(_shrunk(image), scan.ravel())[0, 1] > 0.95
        painted = data.domain("test", "b")[i]
        scan = published.images[int(data.domain("test", "b").names[i][:4])]
        assert np.corrcoef(_shrunk(painted), scan.ravel())[0, 1] < -0.6


def _shrunk(image):
    """The middle 28 pixels as 8 x 8 means."""
    edges = np.linspace(2, 30, 9).round().astype(int)
    grey = image.mean(2)
    return np.array([grey[a:b, c:d].mean() for a, b in pairwise(edges) for c, d in pairwise(edges)])


def test_images_repeat_and_the_seed_changes_them(data):
    again, other = Digits(Digits.Config()), Digits(Digits.Config(seed=1))
    for split, side in PARTS:
        assert (data.domain(split, side)[7] == again.domain(split, side)[7]).all()
    assert other.domain("test", "b").names != data.domain("test", "b").names


def test_training_images_have_the_load_size():
    data = Digits(Digits.Config(size=32, load_size=40))
    assert data.domain("train", "a")[0].shape == (40, 40, 3)
    assert data.domain("test", "a")[0].shape == (32, 32, 3)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    digits._scans.cache_clear()
    with pytest.raises(UserError, match=r"translation-zoo\[digits\]"):
        Digits(Digits.Config())
