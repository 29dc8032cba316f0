"""What is in the target domain stays. Taigman et al. 2017; Zhu et al. 2017, §5.2."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.registry import LOSSES


@LOSSES.register("identity")
class IdentityLoss(nn.Module):
    """|G(y) - y|, mean over all elements: an image of the target domain is left alone.

    Paper: Taigman et al. 2017 (L_TID); in CycleGAN §5.2 with l1. l2 is the mean of the squares.
    """

    @dataclass(kw_only=True)
    class Config:
        """How the distance is measured."""

        distance: Annotated[Literal["l1", "l2"], "mean of absolute values or of squares"] = "l1"

    def __init__(self, config: Config):
        super().__init__()
        self.distance = F.l1_loss if config.distance == "l1" else F.mse_loss

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches N C H W in [-1, 1]; a scalar."""
        return self.distance(full_precision(image), full_precision(target))
