"""The Wasserstein distance with a gradient penalty. Gulrajani et al. 2017, Eq. 3."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.layers.penalty import Penalised, norm_penalty
from zoo.registry import LOSSES


@LOSSES.register("wgan_gp")
class WganGpLoss(Penalised):
    """D minimises D(G(z)) - D(x) + strength (|grad D(x^)| - 1)^2, G minimises -D(G(z)).

    x^ lies on the line from a real to a fake image, each at a place drawn anew. Paper: Gulrajani et
    al. 2017, "Improved Training of Wasserstein GANs", Eq. 3 and Algorithm 1 (strength 10, every
    step). The paper's discriminators have no batch norm, as the penalty is on single images (§4).
    """

    @dataclass(kw_only=True)
    class Config(Penalised.Config):
        """Algorithm 1."""

    def penalty(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Mean of (|grad D(x^)| - 1)^2."""
        place = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
        between = torch.lerp(fake.detach().to(real.dtype), real, place)
        return norm_penalty(discriminator, between, centre=1)

    def generator_term(self, logits: Tensor) -> Tensor:
        """Mean of -D."""
        return -logits.mean()

    def real_term(self, logits: Tensor) -> Tensor:
        """Mean of -D."""
        return -logits.mean()

    def fake_term(self, logits: Tensor) -> Tensor:
        """Mean of D."""
        return logits.mean()
