"""What every extractor does with images before it looks at them."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from zoo.images import to_uint8

Images = np.ndarray | Tensor | Sequence[np.ndarray]


def resize_clean(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize as clean-fid does: each channel a float image, bicubic with antialiasing, not rounded.

    Parmar et al. 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation".

    Args:
        image: H W C, any numeric dtype, values in [0, 255].
        size: (height, width) of the result.

    Returns:
        float32 of shape (height, width, C), clipped to [0, 255].
    """
    height, width = size
    channels = [
        Image.fromarray(np.ascontiguousarray(image[:, :, c], dtype=np.float32)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for c in range(image.shape[2])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=2).clip(0, 255)


def as_uint8(images: Images) -> Iterator[np.ndarray]:
    """Yield images one by one as uint8 H W 3, the form they have in a PNG file.

    Args:
        images: uint8 array N H W 3; or a sequence of uint8 arrays H W 3 of any sizes; or a float
            tensor N 3 H W in [-1, 1], which is rounded as writing a PNG rounds it.

    Raises:
        ValueError: for another type, shape or dtype, or a tensor with NaN.
    """
    if isinstance(images, Tensor):
        if not images.is_floating_point():
            raise ValueError(f"tensors of images are float in [-1, 1], got {images.dtype}")
        images = to_uint8(images)
    for index, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            raise ValueError(f"image {index}: expected an array H W 3, got {type(image).__name__}")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image {index}: expected the shape H W 3, got {image.shape}")
        if image.dtype != np.uint8:
            raise ValueError(f"image {index}: expected uint8, got {image.dtype}")
        yield image
