"""The discriminator of DiscoGAN.

Paper: Kim et al. 2017, "Learning to Discover Cross-Domain Relations with Generative Adversarial
Networks", §4. As in the published code, no convolution has a bias, the first and the last have no
norm, and the features behind all layers but the first are returned for feature matching. Returns
logits: the published sigmoid is part of the loss `gan`.
"""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.conv_forms import Conv2d
from zoo.layers.depth import Depth, resolve_depth
from zoo.layers.init import InitName, init_weights
from zoo.layers.recompute import recomputed
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS
from zoo.schema import COUNT, Bounds

PUBLISHED = 4
FEWEST = 2


@DISCRIMINATORS.register("disco")
class DiscoDiscriminator(nn.Module):
    """Judges 64 x 64 pixels by one number. Paper: Kim et al. 2017 (DiscoGAN), §4.

    Larger images get a map of overlapping judgements.

    Attributes:
        resolved: the config's `auto` value as it came out, `{"num_layers": …}`.
    """

    heads = ("logits",)
    offers = frozenset({"features"})

    @dataclass(kw_only=True)
    class Config:
        """The published network for 64 x 64 pixels."""

        width: Annotated[int, "filters of the first layer, doubled by every further one", COUNT] = (
            64
        )
        num_layers: Annotated[
            Depth, "layers of stride 2; auto: 4, or the most that fit", Bounds(least=FEWEST)
        ] = "auto"
        init: Annotated[InitName, "stock: PyTorch's own, as published"] = "stock"

    def __init__(self, config: Config, shape: Shape):
        super().__init__()
        side = min(shape.height, shape.width)
        depth = resolve_depth(config.num_layers, side, inner=4, fewest=FEWEST, most=PUBLISHED)
        self.resolved = {"num_layers": depth}
        self.least = 4 * 2**depth  # 4 x 4 features before the last convolution
        self.owner = f"discriminator disco with num_layers {depth}"
        check_size(self.owner, shape.height, shape.width, least=self.least)

        blocks, inputs = [], shape.channels
        for n in range(depth):
            width = config.width * 2**n
            norm = [nn.BatchNorm2d(width)] if n else []
            conv = Conv2d(inputs, width, 4, stride=2, padding=1, bias=False)
            blocks += [nn.Sequential(conv, *norm, nn.LeakyReLU(0.2, inplace=True))]
            inputs = width
        self.blocks = nn.ModuleList(blocks)
        self.last = Conv2d(inputs, 1, 4, bias=False)
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] to logits N 1 h w and the features behind all but the first."""
        check_size(self.owner, *x.shape[2:], least=self.least)
        h, features = (x + 1) / 2, []
        for block in self.blocks:
            h = recomputed(block, h)
            features.append(h)
        return Judgement((self.last(h),), tuple(features[1:]))

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: all of it, as no two layers are alike."""
        return [self]
