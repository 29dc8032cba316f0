"""The image pool's promises; the fixtures check its decisions."""

import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.layers.pool import ImagePool


def numbered(start, n):
    return torch.arange(start, start + n).float().view(n, 1, 1, 1)


def run(pool, queries, batch=1):
    return torch.cat([pool(numbered(t * batch, batch)) for t in range(queries)]).flatten().tolist()


def test_size_zero_returns_the_batch_detached():
    images = numbered(0, 3).requires_grad_()
    out = ImagePool(0)(images)
    assert torch.equal(out, images)
    assert not out.requires_grad


def test_returns_new_images_until_full():
    assert run(ImagePool(5), 5) == [0, 1, 2, 3, 4]


@given(size=st.integers(1, 8), batch=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_returns_each_image_at_most_once_after_filling(size, batch, seed):
    pool = ImagePool(size, random.Random(seed))
    out = run(pool, 30, batch)
    assert len(pool.state()) == min(size, 30 * batch)
    filled, later = out[:size], out[size:]
    assert filled == sorted(filled)
    assert len(later) == len(set(later))
    held = {image.item() for image in pool.state()}
    assert held | set(later) >= set(range(size, 30 * batch))  # nothing is lost
    assert not held & set(later)


def test_half_of_the_answers_are_old():
    out = run(ImagePool(50, random.Random(0)), 4050)[50:]
    old = sum(value != t + 50 for t, value in enumerate(out))
    assert 0.47 < old / 4000 < 0.53


def test_continues_from_its_state():
    pool, other = ImagePool(4, random.Random(1)), ImagePool(4)
    run(pool, 20)
    other.load([image.clone() for image in pool.state()])
    other.rng = random.Random()
    other.rng.setstate(pool.rng.getstate())
    assert run(pool, 20) == run(other, 20)


def test_keeps_copies():
    pool, images = ImagePool(1, random.Random(0)), numbered(7, 1)
    pool(images)
    images.zero_()
    assert pool.state()[0].item() == 7


def test_draws_from_the_global_generator_by_default():
    runs = []
    for _ in range(2):
        random.seed(3)
        runs.append(run(ImagePool(3), 30))
    assert runs[0] == runs[1]
