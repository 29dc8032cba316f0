"""Crops and flips: where they fall, how often, and that nothing else decides."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.transforms import augment, center, draw_crop, normalise, resize_short_side

sides = st.integers(1, 24)


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose pixels say where they are: uint8 H W 3, (y, x, 7)."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(x, 7)], axis=2).astype(np.uint8)


def cut_out(image: np.ndarray, rng: np.random.Generator, size: int, flip: float = 0.5):
    """What the networks see of a crop, as uint8 size size 3."""
    square, flipped = augment(image, rng, size, flip)
    (planes,) = normalise(torch.tensor(square)[None], [flipped])
    return ((planes + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


@given(sides, sides, st.data())
def test_a_crop_is_a_square_of_the_image_maybe_mirrored(height, width, data):
    size = data.draw(st.integers(1, min(height, width)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    cut = cut_out(coordinates(height, width), rng, size)
    assert cut.shape == (size, size, 3)
    top, left, right = int(cut[0, 0, 0]), int(cut[0, 0, 1]), int(cut[0, -1, 1])
    wanted = coordinates(height, width)[top : top + size, min(left, right) :][:, :size]
    assert np.array_equal(cut, wanted if left <= right else wanted[:, ::-1])


@given(st.integers(0, 2**63), sides)
def test_equal_generators_treat_the_images_of_a_pair_alike(seed, size):
    a, b = coordinates(30, 28), 255 - coordinates(30, 28)
    cut_a = cut_out(a, np.random.default_rng(seed), size)
    cut_b = cut_out(b, np.random.default_rng(seed), size)
    assert np.array_equal(cut_a, 255 - cut_b)


def test_the_global_generator_neither_matters_nor_moves():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one = cut_out(coordinates(30, 30), np.random.default_rng(5), 20)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(cut_out(coordinates(30, 30), np.random.default_rng(5), 20), one)


def test_every_position_and_both_mirrors_are_equally_likely():
    rng = np.random.default_rng(0)
    crops = [draw_crop(rng, 7, 6, 5, 0.5) for _ in range(6000)]
    counts = np.zeros((3, 2, 2))
    for crop in crops:
        counts[crop.top, crop.left, int(crop.flipped)] += 1
    # Chi-squared with 11 degrees of freedom: above 31.3 with probability 0.001.
    assert ((counts - 500) ** 2 / 500).sum() < 31.3


@pytest.mark.parametrize(("flip", "expected"), [(0, 0), (1, 400), (0.1, 40)])
def test_flip_is_a_probability_and_does_not_move_the_crop(flip, expected):
    drawn = [draw_crop(np.random.default_rng(n), 30, 30, 20, flip) for n in range(400)]
    usual = [draw_crop(np.random.default_rng(n), 30, 30, 20, 0.5) for n in range(400)]
    assert [crop[:2] for crop in drawn] == [crop[:2] for crop in usual]
    assert abs(sum(crop.flipped for crop in drawn) - expected) <= 20 * (0 < flip < 1)


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="a 9 x 12 image has no 10 x 10 crop"):
        draw_crop(np.random.default_rng(0), 12, 9, 10)


def test_a_crop_is_a_view_and_a_batch_a_copy():
    image = coordinates(8, 8)
    square, _ = augment(image, np.random.default_rng(0), 4)
    assert np.shares_memory(square, image)
    levels = torch.from_numpy(image[None])
    normalise(levels, [True])
    assert np.array_equal(image, coordinates(8, 8))


@pytest.mark.parametrize("flipped", [(False, False, False), (True, False, True), (True,) * 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_to_the_bit_what_its_images_are_alone(flipped, channels):
    """Mirrored as files, converted by the plain formula."""
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, channels), np.uint8)
    images[0, 0, :2] = [[0], [255]]
    plain = [
        image[:, ::-1] if mirror else image for image, mirror in zip(images, flipped, strict=True)
    ]
    planes = torch.tensor(np.stack(plain)).permute(0, 3, 1, 2)
    batch = normalise(torch.from_numpy(images), flipped)
    assert torch.equal(batch, planes.float() / 127.5 - 1)
    assert batch.is_contiguous()
    assert (batch.min(), batch.max()) == (-1, 1)


@pytest.mark.parametrize(("height", "width"), [(20, 30), (31, 20), (20, 20)])
def test_center_takes_the_central_square(height, width):
    assert np.array_equal(
        center(coordinates(height, width), 20),
        coordinates(height, width)[(height - 20) // 2 :, (width - 20) // 2 :][:20, :20],
    )


@given(sides, sides, st.integers(1, 24))
def test_center_gives_any_image_the_wanted_size(height, width, size):
    assert center(coordinates(height, width), size).shape == (size, size, 3)


def test_center_of_a_long_strip_needs_no_large_image():
    strip = np.zeros((2, 100_000, 3), np.uint8)
    assert center(strip, 256).shape == (256, 256, 3)


@given(sides, sides, st.integers(1, 24))
def test_the_short_side_gets_the_size_and_proportions_stay(height, width, size):
    resized = resize_short_side(coordinates(height, width), size)
    assert min(resized.shape[:2]) == size
    assert abs(resized.shape[0] * width - resized.shape[1] * height) <= max(height, width)
