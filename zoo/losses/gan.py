"""The first adversarial loss, with the non-saturating generator. Goodfellow et al. 2014, §3."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from zoo.layers.adversarial import Adversarial
from zoo.registry import LOSSES


@LOSSES.register("gan")
class GanLoss(Adversarial):
    """Cross-entropy on logits: D minimises -log D(x) - log(1 - D(G(z))), G minimises -log D(G(z)).

    D(x) is the sigmoid of the logits. Paper: Goodfellow et al. 2014, "Generative Adversarial Nets";
    the generator's form is the one that §3 recommends in practice.
    """

    @dataclass(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config):
        super().__init__()

    def generator_term(self, logits: Tensor) -> Tensor:
        """Mean of -log D."""
        return F.softplus(-logits).mean()

    def real_term(self, logits: Tensor) -> Tensor:
        """Mean of -log D."""
        return F.softplus(-logits).mean()

    def fake_term(self, logits: Tensor) -> Tensor:
        """Mean of -log(1 - D)."""
        return F.softplus(logits).mean()
