"""The hinge loss. Lim and Ye 2017, "Geometric GAN"; Miyato et al. 2018, Eqs. 16 and 17."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from zoo.layers.adversarial import Adversarial
from zoo.registry import LOSSES


@LOSSES.register("hinge")
class HingeLoss(Adversarial):
    """D minimises max(0, 1 - D(x)) + max(0, 1 + D(G(z))), G minimises -D(G(z)).

    Paper: Lim and Ye 2017, "Geometric GAN"; in this form Miyato et al. 2018, "Spectral
    Normalization for Generative Adversarial Networks", Eqs. 16 and 17.
    """

    @dataclass(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config):
        super().__init__()

    def generator_term(self, logits: Tensor) -> Tensor:
        """Mean of -D."""
        return -logits.mean()

    def reverse_term(self, logits: Tensor) -> Tensor:
        """Mean of D."""
        return logits.mean()

    def real_term(self, logits: Tensor) -> Tensor:
        """Mean of max(0, 1 - D)."""
        return F.relu(1 - logits).mean()

    def fake_term(self, logits: Tensor) -> Tensor:
        """Mean of max(0, 1 + D)."""
        return F.relu(1 + logits).mean()
