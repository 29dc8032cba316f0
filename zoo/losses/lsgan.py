"""Least squares instead of cross-entropy. Mao et al. 2017, "Least Squares GANs", Eq. 9."""

from dataclasses import dataclass

from torch import Tensor

from zoo.layers.adversarial import Adversarial
from zoo.registry import LOSSES


@LOSSES.register("lsgan")
class LsganLoss(Adversarial):
    """Least squares: D minimises (D(x) - 1)^2 + D(G(z))^2, G minimises (D(G(z)) - 1)^2.

    Paper: Mao et al. 2017, Eq. 9 (a = 0, b = c = 1), without its factor 1/2: CycleGAN's recipe has
    it as `weights.discriminator: 0.5`, U-GAT-IT does without.
    """

    @dataclass(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config):
        super().__init__()

    def generator_term(self, logits: Tensor) -> Tensor:
        """Mean of (D - 1)^2."""
        return (logits - 1).square().mean()

    def real_term(self, logits: Tensor) -> Tensor:
        """Mean of (D - 1)^2."""
        return (logits - 1).square().mean()

    def fake_term(self, logits: Tensor) -> Tensor:
        """Mean of D^2."""
        return logits.square().mean()
