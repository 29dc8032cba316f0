"""Structural similarity to the truth of each image.

Paper: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity",
Eq. 13.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.checks import MetricError, checked_pairs
from eval.features.images import Images
from eval.metric import Column, Evaluated, Value
from zoo.registry import METRICS

WINDOW = 11  # pixels
DEVIATION = 1.5  # pixels
STABLE_LUMINANCE, STABLE_STRUCTURE = 0.01**2, 0.03**2  # C1 and C2 of Eq. 13, values in [0, 1]


@METRICS.register("ssim")
class Ssim:
    """Structural similarity to the truth (Wang et al. 2004), mean over RGB; 1 for equal images."""

    needs = frozenset({"pairs"})
    columns = {"ssim": Column("SSIM to truth", "higher", 1, 3)}
    on_untranslated = True
    default = "always"

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config):
        self.config = config

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "ssim"."""
        assert data.truths is not None
        return {"ssim": Value.of_images(ssim(data.images, data.truths))}


def ssim(images: Images, truths: Images) -> np.ndarray:
    """Structural similarity of each image to its truth (Wang et al. 2004, Eq. 13), mean over RGB.

    Gaussian window of 11 px, standard deviation 1.5 px, values in [0, 1], borders mirrored, as
    torchmetrics has it, in single precision: each channel's mean is taken off first, so that the
    variance of a flat area does not come out of the difference of two large numbers. Arguments as
    for `eval.metrics.l1.l1`; sides of at least 11 px.

    Returns:
        float64 (n,): 1 for equal images, rarely below 0.

    Raises:
        MetricError: for different numbers or sizes, or images smaller than the window.
    """
    values = []
    for pair in checked_pairs(images, truths):
        if min(pair[0].shape[:2]) < WINDOW:
            raise MetricError(f"SSIM needs sides of {WINDOW} px, got an image {pair[0].shape}")
        x, y = (torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in pair)
        values.append(_similarity(x.float().div_(255), y.float().div_(255)))
    return np.array(values)


def _similarity(x: Tensor, y: Tensor) -> float:
    level_x, level_y = (z.mean((1, 2), keepdim=True) for z in (x, y))
    x, y = x - level_x, y - level_y
    near_x, near_y, power, product = _windowed(torch.stack([x, y, x * x + y * y, x * y]))
    covariance = product.addcmul_(near_x, near_y, value=-1)
    spread = power.addcmul_(near_x, near_x, value=-1).addcmul_(near_y, near_y, value=-1)
    mean_x, mean_y = near_x.add_(level_x), near_y.add_(level_y)
    values = (mean_x * mean_y).mul_(2).add_(STABLE_LUMINANCE)
    values *= covariance.mul_(2).add_(STABLE_STRUCTURE)
    values /= mean_x.square_().addcmul_(mean_y, mean_y).add_(STABLE_LUMINANCE)
    values /= spread.add_(STABLE_STRUCTURE)
    return min(1.0, float(values.mean(dtype=torch.float64)))  # above 1 by rounding alone


def _windowed(maps: Tensor) -> Tensor:
    """Gaussian means along both axes; shifted additions are faster here than a convolution."""
    reach = WINDOW // 2
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * DEVIATION**2))
    weights /= weights.sum()
    maps = F.pad(maps, (reach,) * 4, mode="reflect")
    for axis in (2, 3):
        length = maps.shape[axis] - 2 * reach
        mean = maps.narrow(axis, reach, length) * weights[reach]
        pair = torch.empty_like(mean)
        for k in range(reach):
            near, far = maps.narrow(axis, k, length), maps.narrow(axis, 2 * reach - k, length)
            torch.add(near, far, out=pair)
            mean.add_(pair, alpha=weights[k])
        maps = mean
    return maps
