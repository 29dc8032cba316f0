"""The local adversarial loss of SimGAN. Shrivastava et al. 2017, §2.2."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from zoo.layers.adversarial import Adversarial
from zoo.registry import LOSSES


@LOSSES.register("local_gan")
class LocalGanLoss(Adversarial):
    """As `gan`, with the cross-entropies of an image's patches summed, not averaged.

    Paper: Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images through
    Adversarial Training", §2.2: the sum over the w x h probabilities of a discriminator that judges
    patches; Eqs. 1 and 2 for one of them. Of several images the mean is taken.
    """

    @dataclass(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config):
        super().__init__()

    def generator_term(self, logits: Tensor) -> Tensor:
        """Sum over patches of -log D, mean over images."""
        return F.softplus(-logits).flatten(1).sum(dim=1).mean()

    def real_term(self, logits: Tensor) -> Tensor:
        """Sum over patches of -log D, mean over images."""
        return F.softplus(-logits).flatten(1).sum(dim=1).mean()

    def fake_term(self, logits: Tensor) -> Tensor:
        """Sum over patches of -log(1 - D), mean over images."""
        return F.softplus(logits).flatten(1).sum(dim=1).mean()
