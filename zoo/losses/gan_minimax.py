"""The first adversarial loss as the game that its paper states. Goodfellow et al. 2014, Eq. 1."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from zoo.layers.adversarial import Adversarial
from zoo.registry import LOSSES


@LOSSES.register("gan_minimax")
class GanMinimaxLoss(Adversarial):
    """Cross-entropy: D minimises -log D(x) - log(1 - D(G(z))), G minimises log(1 - D(G(z))).

    Paper: Goodfellow et al. 2014, "Generative Adversarial Nets", Eq. 1. The generator's gradient
    vanishes where the discriminator is sure of a fake; `gan` is the form that §3 recommends.
    """

    @dataclass(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config):
        super().__init__()

    def generator_term(self, logits: Tensor) -> Tensor:
        """Mean of log(1 - D)."""
        return -F.softplus(logits).mean()

    def reverse_term(self, logits: Tensor) -> Tensor:
        """Mean of log D."""
        return -F.softplus(-logits).mean()

    def real_term(self, logits: Tensor) -> Tensor:
        """Mean of -log D."""
        return F.softplus(-logits).mean()

    def fake_term(self, logits: Tensor) -> Tensor:
        """Mean of -log(1 - D)."""
        return F.softplus(logits).mean()
