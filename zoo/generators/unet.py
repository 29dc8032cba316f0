"""The U-Net generator of pix2pix.

Paper: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", §3.2.1
and appendix 6.1.1; architecture after Ronneberger et al. 2015. Follows the published PyTorch code
where it differs from the paper: the skips carry the features after the leaky ReLU, as that works in
place there; dropout is in the levels between the innermost and the first with all channels, which
leaves the innermost out; convolutions in front of a batch norm have no bias, all others do.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.conv_forms import Conv2d, ConvTranspose2d
from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.recompute import recomputed
from zoo.layers.skip import output_image
from zoo.protocols import Shape, Translation
from zoo.registry import GENERATORS, UserError
from zoo.schema import COUNT, Auto, Bounds

DEEPEST = 8  # the published depth, for 256 x 256 pixels
FEWEST = 2


@GENERATORS.register("unet")
class UnetGenerator(nn.Module):
    """Encoder and decoder with a skip at every size. Paper: Isola et al. 2017, appendix 6.1.1."""

    offers: frozenset[str] = frozenset()
    fixed_size = None

    @dataclass(kw_only=True)
    class Config:
        """The published network for 256 x 256 pixels."""

        width: Annotated[
            int, "filters of the first layer; at most eight times as many inside", COUNT
        ] = 64
        num_downs: Annotated[
            int | Auto,
            "levels of half the size; auto: as many as the image allows, at most 8",
            Bounds(least=FEWEST),
        ] = "auto"
        norm: Annotated[NormName, "after the inner convolutions"] = "batch"
        dropout: Annotated[float, "probability, in the levels around the innermost; 0: none"] = 0.5
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"

        def __post_init__(self):
            if not 0 <= self.dropout < 1:
                raise UserError(f"dropout is {self.dropout}; a probability below 1 is needed")

    def __init__(self, config: Config, source: Shape, target: Shape):
        super().__init__()
        downs = resolve_num_downs(config.num_downs, source)
        self.resolved = {"num_downs": downs}
        self.size_multiple = 2**downs
        self.owner = f"generator unet with num_downs {downs}"
        check_size(self.owner, source.height, source.width, multiple=self.size_multiple)
        bias = config.norm != "batch"
        widths = [config.width * min(2**level, 8) for level in range(downs)]

        # Lists by level, outermost first.
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level in range(downs):
            outermost, innermost = level == 0, level == downs - 1
            inputs = source.channels if outermost else widths[level - 1]
            outputs = target.channels if outermost else widths[level - 1]
            inner = widths[level] if innermost else 2 * widths[level]  # a skip comes beside it
            down: list[nn.Module] = [
                Conv2d(inputs, widths[level], 4, stride=2, padding=1, bias=bias)
            ]
            if not (outermost or innermost):
                down += [norm_layer(config.norm, widths[level])]
            up: list[nn.Module] = [
                ConvTranspose2d(inner, outputs, 4, stride=2, padding=1, bias=bias or outermost)
            ]
            if not outermost:
                up += [norm_layer(config.norm, outputs)]
            if config.dropout and 4 <= level < downs - 1:
                up += [nn.Dropout(config.dropout)]
            self.downs.append(nn.Sequential(*down))
            self.ups.append(nn.Sequential(*up))
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Translation:
        """Images N C H W in [-1, 1], sides a multiple of 2^num_downs; others raise `UserError`."""
        check_size(self.owner, *x.shape[2:], multiple=self.size_multiple)
        h, skips = self.downs[0](x), []
        for down in list(self.downs)[1:]:
            h = F.leaky_relu(h, 0.2)
            skips.append(h)
            h = recomputed(down, h)
        for up in list(self.ups)[:0:-1]:
            h = torch.cat([skips.pop(), recomputed(up, F.relu(h))], dim=1)
        return Translation(output_image(self.ups[0](F.relu(h)), x, input_skip=False))

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: all of it, as no two levels are alike."""
        return [self]


def resolve_num_downs(wanted: int | Auto, shape: Shape) -> int:
    """The depth for images of that shape: `auto` is the deepest, up to 8, that halves evenly."""
    if wanted != "auto":
        return int(wanted)
    fitting = [
        n
        for n in range(FEWEST, DEEPEST + 1)
        if shape.height % 2**n == 0 and shape.width % 2**n == 0
    ]
    return max(fitting, default=FEWEST)
