"""A patch resembles the same place of the input, and no other. Park et al. 2020 (CUT), §3."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.registry import LOSSES, UserError

_EXCLUDED = -10.0  # similarity of a patch to itself as a negative, as published


@LOSSES.register("patch_nce")
class PatchNCELoss(nn.Module):
    """Cross-entropy of finding, among the patches of the input image, the one at the same place.

    Paper: Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", §3:
    the loss of Oord et al. 2018, for one layer. Negatives are the other patches of the same
    image. As in the published code, keys get no gradient, and the place of the positive stays in
    the row of negatives with a similarity of -10.
    """

    @dataclass(kw_only=True)
    class Config:
        """How sharp the distinction is."""

        temperature: Annotated[float, "tau, by which similarities are divided"] = 0.07

        def __post_init__(self):
            if self.temperature <= 0:
                raise UserError(f"temperature is {self.temperature}; it must be positive")

    def __init__(self, config: Config):
        super().__init__()
        self.temperature = config.temperature

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """Unit vectors N P C of the translated and of the input image; a scalar."""
        return self.per_patch(query, key).mean()

    def per_patch(self, query: Tensor, key: Tensor) -> Tensor:
        """The cross-entropy of every patch, N P."""
        q, k = full_precision(query), full_precision(key).detach()
        positive = (q * k).sum(dim=2, keepdim=True)  # N P 1
        with torch.autocast(q.device.type, enabled=False):
            negative = q @ k.transpose(1, 2)  # N P P
        itself = torch.eye(q.shape[1], dtype=torch.bool, device=q.device)
        logits = torch.cat([positive, negative.masked_fill(itself, _EXCLUDED)], dim=2)
        return (
            torch.logsumexp(logits / self.temperature, dim=2) - logits[:, :, 0] / self.temperature
        )
