"""There and back again. Zhu et al. 2017, "Unpaired Image-to-Image Translation", Eq. 2."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.registry import LOSSES


@LOSSES.register("cycle")
class CycleLoss(nn.Module):
    """|G(F(x)) - x|, mean over all elements: what was translated there and back is as it was.

    Paper: Zhu et al. 2017, Eq. 2 (l1). l2 is the mean of the squares.
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
