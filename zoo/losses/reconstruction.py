"""An image encoded and decoded again is as it was. Chen et al. 2020, NICE-GAN, §3.3."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.registry import LOSSES


@LOSSES.register("reconstruction")
class ReconstructionLoss(nn.Module):
    """|G(E(x)) - x|, mean over all elements: within a domain, encoder and decoder undo each other.

    Paper: Chen et al. 2020, "Reusing Discriminators for Encoding", §3.3 (l1). l2 is the mean of the
    squares.
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
