"""The discriminator of pairs (Dumoulin et al. 2017; Donahue et al. 2017), for pairs of images.

Papers: Dumoulin et al. 2017, "Adversarially Learned Inference", and Donahue et al. 2017,
"Adversarial Feature Learning" (BiGAN), judge a pair (x, z) by a network on each and one on both.
There z is a vector. Here both are images, as CycleGAN's comparison has it (Zhu et al. 2017,
§5.1.1), so both halves are convolutional, and patches of pairs are judged.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.recompute import recomputed
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS
from zoo.schema import COUNT


@DISCRIMINATORS.register("joint")
class JointDiscriminator(nn.Module):
    """Looks at both images of a pair on their own, then at both. Paper: Dumoulin et al. 2017.

    Args:
        config: see `Config`.
        shape: of a pair, its images' channels one after the other, or of its first image.
        second: of the second image; None if `shape` is the pair's, whose channels are then halved,
            the first image having the odd one.
    """

    heads = ("patches",)
    pairs = True

    @dataclass(kw_only=True)
    class Config:
        """As deep as the 70 x 70 PatchGAN: two strided layers alone, one together."""

        width: Annotated[int, "filters of the first layer of each half", COUNT] = 64
        norm: Annotated[NormName, "after every convolution but the first and the last"] = "instance"
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"

    def __init__(self, config: Config, shape: Shape, second: Shape | None = None):
        super().__init__()
        check_size("discriminator joint", shape.height, shape.width, least=24)
        self.first_channels = shape.channels if second else (shape.channels + 1) // 2
        channels = [self.first_channels, shape.channels - self.first_channels]
        if second is not None:
            channels[1] = second.channels
        width, bias = config.width, config.norm != "batch"
        self.first, self.second = (
            nn.Sequential(
                nn.Conv2d(count, width, 4, stride=2, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=bias),
                norm_layer(config.norm, 2 * width),
                nn.LeakyReLU(0.2, inplace=True),
            )
            for count in channels
        )
        self.both = nn.Sequential(
            nn.Conv2d(4 * width, 4 * width, 4, stride=2, padding=1, bias=bias),
            norm_layer(config.norm, 4 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4 * width, 8 * width, 4, padding=1, bias=bias),
            norm_layer(config.norm, 8 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8 * width, 1, 4, padding=1),
        )
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Judgement:
        """Pairs N C H W in [-1, 1], C the channels of both images, to logits N 1 h w."""
        check_size("discriminator joint", *x.shape[2:], least=24)
        first, second = x[:, : self.first_channels], x[:, self.first_channels :]
        sides = [recomputed(self.first, first), recomputed(self.second, second)]
        return Judgement((recomputed(self.both, torch.cat(sides, dim=1)),))

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: all of it, as no two layers are alike."""
        return [self]
