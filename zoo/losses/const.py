"""There and back again, by any distance. Kim et al. 2017, DiscoGAN, Eq. 3."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.registry import LOSSES

_DISTANCES = {"l2": F.mse_loss, "l1": F.l1_loss, "huber": F.smooth_l1_loss}


@LOSSES.register("const")
class ConstLoss(nn.Module):
    """d(G_BA(G_AB(x)), x), mean over all elements: the reconstruction loss L_CONST.

    Paper: Kim et al. 2017, Eq. 3; d is the mean of squares in the published code. Images here are
    in [-1, 1], in that code in [0, 1]: its squares are a quarter of these.
    """

    @dataclass(kw_only=True)
    class Config:
        """How the distance is measured."""

        distance: Annotated[
            Literal["l2", "l1", "huber"], "mean of squares, of absolute values, or of both"
        ] = "l2"

    def __init__(self, config: Config):
        super().__init__()
        self.distance = _DISTANCES[config.distance]

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches N C H W in [-1, 1]; a scalar."""
        return self.distance(full_precision(image), full_precision(target))
