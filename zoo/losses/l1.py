"""How far from the truth. Isola et al. 2017, "Image-to-Image Translation with cGANs", Eq. 3."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.registry import LOSSES


@LOSSES.register("l1")
class L1Loss(nn.Module):
    """|y - G(x)|, mean over all elements: the image is the true counterpart.

    Paper: Isola et al. 2017, Eq. 3.
    """

    @dataclass(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config):
        super().__init__()

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches N C H W in [-1, 1]; a scalar."""
        return F.l1_loss(full_precision(image), full_precision(target))
