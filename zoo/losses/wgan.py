"""The Wasserstein distance with clipped weights. Arjovsky et al. 2017, "Wasserstein GAN"."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from zoo.layers.adversarial import Adversarial
from zoo.registry import LOSSES, UserError


@LOSSES.register("wgan")
class WganLoss(Adversarial):
    """D minimises D(G(z)) - D(x) with every weight within the clip, G minimises -D(G(z)).

    Paper: Arjovsky et al. 2017, "Wasserstein GAN", Algorithm 1; its optimizer is RMSProp at 5e-5,
    as momentum made training unstable (§4).
    """

    @dataclass(kw_only=True)
    class Config:
        """Algorithm 1."""

        clip: Annotated[float, "weights of the discriminators stay within [-clip, clip]"] = 0.01

        def __post_init__(self):
            if self.clip <= 0:
                raise UserError(f"clip is {self.clip:g}; weights need a clip above 0")

    def __init__(self, config: Config):
        super().__init__()
        self.clip = config.clip

    @torch.no_grad()
    def after_step(self, *discriminators: nn.Module) -> None:
        """Put every weight that learns back into [-clip, clip]."""
        for discriminator in discriminators:
            for parameter in discriminator.parameters():
                if parameter.requires_grad:
                    parameter.clamp_(-self.clip, self.clip)

    def generator_term(self, logits: Tensor) -> Tensor:
        """Mean of -D."""
        return -logits.mean()

    def real_term(self, logits: Tensor) -> Tensor:
        """Mean of -D."""
        return -logits.mean()

    def fake_term(self, logits: Tensor) -> Tensor:
        """Mean of D."""
        return logits.mean()
