"""The pixel discriminator of pix2pix.

Paper: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", §3.2.2
and appendix 6.1.2 ("PixelGAN", patches of 1 x 1). As in the published code, convolutions in front
of a batch norm have no bias, and neither has the last one where the norm is a batch norm.
"""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.recompute import recomputed
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS
from zoo.schema import COUNT


@DISCRIMINATORS.register("pixel")
class PixelDiscriminator(nn.Module):
    """Judges every pixel by its colour alone. Paper: Isola et al. 2017, §3.2.2."""

    heads = ("pixels",)
    least = 1

    @dataclass(kw_only=True)
    class Config:
        """The published network."""

        width: Annotated[int, "filters of the first layer", COUNT] = 64
        norm: Annotated[NormName, "after the middle convolution"] = "instance"
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"

    def __init__(self, config: Config, shape: Shape):
        super().__init__()
        width, bias = config.width, config.norm != "batch"
        self.layers = nn.Sequential(
            nn.Conv2d(shape.channels, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            norm_layer(config.norm, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] of any size to one head of logits N 1 H W."""
        return Judgement((recomputed(self.layers, x),))

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: all of it, as it is small."""
        return [self]
