"""Distances to the truth of each image, where the data have pairs: L1 and SSIM."""

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from eval.features.images import Images
from eval.metrics._checks import MetricError, checked_pairs

SSIM_WINDOW = 11


def l1(images: Images, truths: Images) -> np.ndarray:
    """Mean absolute difference of each image from its truth.

    Args:
        images: as for `eval.features`: uint8 N H W 3, a sequence of uint8 H W 3, or a float tensor
            N 3 H W in [-1, 1].
        truths: as many, of the same sizes.

    Returns:
        float64 (n,): 0 for equal images, 1 for black against white.

    Raises:
        MetricError: for different numbers or sizes.
    """
    return np.array(
        [np.abs(x.astype(int) - y).mean() / 255 for x, y in checked_pairs(images, truths)]
    )


def ssim(images: Images, truths: Images) -> np.ndarray:
    """Structural similarity of each image to its truth (Wang et al. 2004, Eq. 13), mean over RGB.

    Gaussian window of 11 px, standard deviation 1.5 px, values in [0, 1], borders mirrored, as
    torchmetrics has it. Arguments as for `l1`; sides of at least 11 px.

    Returns:
        float64 (n,): 1 for equal images, rarely below 0.

    Raises:
        MetricError: for different numbers or sizes, or images smaller than the window.
    """
    values = []
    for x, y in checked_pairs(images, truths):
        if min(x.shape[:2]) < SSIM_WINDOW:
            raise MetricError(f"SSIM needs sides of {SSIM_WINDOW} px, got an image {x.shape}")
        pair = torch.from_numpy(np.stack([x, y])).permute(0, 3, 1, 2).double() / 255
        value = structural_similarity_index_measure(pair[:1], pair[1:], data_range=1.0)
        assert isinstance(value, Tensor)  # a pair only with the full map, not asked for
        values.append(value.item())
    return np.array(values)
