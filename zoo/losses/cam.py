"""The generator's attention must tell the domains apart. Kim et al. 2020, U-GAT-IT, §2.2."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.registry import LOSSES


@LOSSES.register("cam")
class CamLoss(nn.Module):
    """-log eta(x_source) - log(1 - eta(x_target)): an auxiliary classifier inside the generator.

    eta is the sigmoid of the CAM logits. Paper: Kim et al. 2020, §2.2 "CAM loss", for a generator.
    """

    @dataclass(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config):
        super().__init__()

    def forward(self, source_logits: Tensor, target_logits: Tensor) -> Tensor:
        """CAM logits N K for images of the source and of the target domain; a scalar."""
        source = F.softplus(-full_precision(source_logits)).mean()
        target = F.softplus(full_precision(target_logits)).mean()
        return source + target
