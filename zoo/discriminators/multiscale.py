"""The multi-scale discriminator of pix2pixHD.

Paper: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional
GANs", §3.2: patch discriminators of the same form, each with weights of its own, judge the image,
the image at half the size, and so on. As in the published code, a size is halved by the mean over
3 x 3 pixels, those beyond the border not counted. Differs in that the patch discriminators are
those of pix2pix, whose convolutions are padded by 1 and not by 2.
"""

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import NormName
from zoo.layers.patchgan import DownName, patch_layers, smallest_side
from zoo.layers.recompute import recomputed
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS
from zoo.schema import COUNT, Auto

PUBLISHED_SCALES = 3


@DISCRIMINATORS.register("multiscale")
class MultiscaleDiscriminator(nn.Module):
    """Patch discriminators on an image pyramid. Paper: Wang et al. 2018 (pix2pixHD), §3.2.

    Attributes:
        heads: one a scale, finest first.
        resolved: the config's `auto` values as they came out, `{"num_scales": …}`.
    """

    @dataclass(kw_only=True)
    class Config:
        """Defaults are the published network."""

        num_scales: Annotated[
            int | Auto, "sizes judged; auto: 3, or as many as the image allows", COUNT
        ] = "auto"
        width: Annotated[int, "filters of the first layer", COUNT] = 64
        num_layers: Annotated[int, "layers of stride 2 at each scale", COUNT] = 3
        norm: Annotated[NormName, "after every convolution but the first and the last"] = "instance"
        down: Annotated[DownName, "convolution of stride 2, or of 1 and a blur, as in CUT"] = (
            "strided"
        )
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"

    def __init__(self, config: Config, shape: Shape):
        super().__init__()
        count = resolve_num_scales(config, min(shape.height, shape.width))
        self.resolved = {"num_scales": count}
        self.least = least_side(config.num_layers, count)
        self.owner = (
            f"discriminator multiscale with num_scales {count} and num_layers {config.num_layers}"
        )
        check_size(self.owner, shape.height, shape.width, least=self.least)
        self.heads = tuple(f"patches/{2**n}" for n in range(count))
        self.scales = nn.ModuleList(
            patch_layers(shape.channels, config.width, config.num_layers, config.norm, config.down)
            for _ in range(count)
        )
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] to a head of logits N 1 h w for each scale."""
        check_size(self.owner, *x.shape[2:], least=self.least)
        logits = []
        for n, layers in enumerate(self.scales):
            if n:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            logits.append(recomputed(layers, x))
        return Judgement(tuple(logits))

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: all of it, as each scale has its own sizes."""
        return [self]


def least_side(num_layers: int, num_scales: int) -> int:
    """The smallest side in pixels that can be judged; halving rounds up."""
    return (smallest_side(num_layers) - 1) * 2 ** (num_scales - 1) + 1


def resolve_num_scales(config: MultiscaleDiscriminator.Config, side: int) -> int:
    """The number of scales for images whose shorter side is `side` pixels."""
    if config.num_scales != "auto":
        return int(config.num_scales)
    scales = range(1, PUBLISHED_SCALES + 1)
    return max((n for n in scales if least_side(config.num_layers, n) <= side), default=1)
