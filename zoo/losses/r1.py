"""Cross-entropy with a zero-centred gradient penalty on reals. Mescheder et al. 2018, Eq. 9."""

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.penalty import Penalised, image_gradients
from zoo.registry import LOSSES
from zoo.schema import NOT_NEGATIVE


@LOSSES.register("r1")
class R1Loss(Penalised):
    """As `gan`, and D minimises strength/2 |grad D(x)|^2 on real images besides.

    Paper: Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", Eq. 9,
    with strength 10 as in its experiments on images.
    """

    @dataclass(kw_only=True)
    class Config(Penalised.Config):
        """Eq. 9."""

        strength: Annotated[float, "gamma; the penalty counts half of it", NOT_NEGATIVE] = 10.0

    def penalty(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Mean of |grad D(x)|^2 / 2."""
        return image_gradients(discriminator, real).flatten(1).square().sum(dim=1).mean() / 2

    def generator_term(self, logits: Tensor) -> Tensor:
        """Mean of -log D."""
        return F.softplus(-logits).mean()

    def real_term(self, logits: Tensor) -> Tensor:
        """Mean of -log D."""
        return F.softplus(-logits).mean()

    def fake_term(self, logits: Tensor) -> Tensor:
        """Mean of -log(1 - D)."""
        return F.softplus(logits).mean()
