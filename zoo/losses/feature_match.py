"""Fakes have the features of reals on average. Salimans et al. 2016, §3.1; in DiscoGAN's code."""

from dataclasses import dataclass

from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.registry import LOSSES


@LOSSES.register("feature_match")
class FeatureMatchLoss(nn.Module):
    """(E f(x) - E f(G(z)))^2, mean over elements; E is the mean over the batch, f a layer of D.

    Paper: Salimans et al. 2016, "Improved Techniques for Training GANs", §3.1. DiscoGAN's code,
    not its paper, sums it over three layers.
    """

    whole_batch = "compares means over the batch"

    @dataclass(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config):
        super().__init__()

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Features N … of one layer, for reals and for fakes; a scalar."""
        difference = full_precision(real).mean(dim=0) - full_precision(fake).mean(dim=0)
        return difference.square().mean()
