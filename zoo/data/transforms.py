"""Crops and flips of uint8 H W C images; whatever is random comes from an explicit generator.

As published for CycleGAN and U-GAT-IT: resize to the load size, cut out a square at random, flip
half of the images left to right. Resizing is done when a file is read (`zoo.data.folders`).
"""

from typing import NamedTuple

import numpy as np

from zoo.images import resize


class Crop(NamedTuple):
    """Where the square is cut out, and whether it is mirrored."""

    top: int
    left: int
    flipped: bool


def draw_crop(
    rng: np.random.Generator, height: int, width: int, size: int, flip: float = 0.5
) -> Crop:
    """Draw a crop, every position being equally likely.

    Three numbers are drawn whatever the arguments, so that generators in the same state give the
    same position with and without flips.

    Args:
        rng: the source of the three numbers.
        height: of the image.
        width: of the image.
        size: side of the square.
        flip: probability of a left-right flip.

    Raises:
        ValueError: the image is smaller than the square.
    """
    if min(height, width) < size:
        raise ValueError(f"a {width} x {height} image has no {size} x {size} crop")
    top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
    return Crop(int(top), int(left), bool(rng.random() < flip))


def apply_crop(image: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """Cut out the square of side `size`: uint8 size size C, a contiguous copy."""
    square = image[crop.top : crop.top + size, crop.left : crop.left + size]
    return np.array(square[:, ::-1] if crop.flipped else square, order="C")


def augment(
    image: np.ndarray, rng: np.random.Generator, size: int, flip: float = 0.5
) -> np.ndarray:
    """Cut out a random square and maybe mirror it, for training.

    Images of one shape are treated alike by generators in the same state: this is how both images
    of a pair get the same crop.

    Args:
        image: uint8 H W C, both sides at least `size`.
        rng: the only source of randomness.
        size: side of the square.
        flip: probability of a left-right flip.

    Returns:
        uint8 size size C.
    """
    height, width = image.shape[:2]
    return apply_crop(image, draw_crop(rng, height, width, size, flip), size)


def center(image: np.ndarray, size: int) -> np.ndarray:
    """Cut out the largest central square and resize it, for tests: nothing random.

    Args:
        image: uint8 H W C of any shape.
        size: side of the result.

    Returns:
        uint8 size size C; the image itself when it has that shape already.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(image[top : top + side, left : left + side], size)


def resize_short_side(image: np.ndarray, size: int) -> np.ndarray:
    """Resize so that the shorter side is `size`, keeping the proportions.

    Args:
        image: uint8 H W C.
        size: the shorter side of the result.

    Returns:
        uint8 H W C.
    """
    height, width = image.shape[:2]
    scale = size / min(height, width)
    return resize(image, (round(height * scale), round(width * scale)))
