"""What is refined stays what it was. Shrivastava et al. 2017, SimGAN, Eq. 3."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.registry import LOSSES


@LOSSES.register("self_regularisation")
class SelfRegularisationLoss(nn.Module):
    """|R(x) - x| on pixels, mean over all elements: the paper's sum over their number.

    Paper: Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images through
    Adversarial Training", Eq. 3 with the identity for psi. l2 is the mean of the squares.
    """

    offers = frozenset({"content"})

    @dataclass(kw_only=True)
    class Config:
        """How the distance is measured."""

        distance: Annotated[Literal["l1", "l2"], "mean of absolute values or of squares"] = "l1"

    def __init__(self, config: Config):
        super().__init__()
        self.distance = F.l1_loss if config.distance == "l1" else F.mse_loss

    def prepare(self) -> None:
        """Needs no weights."""

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches N C H W in [-1, 1]; a scalar."""
        return self.distance(full_precision(image), full_precision(target))
