"""The ResNet generator of CycleGAN.

Paper: Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks", appendix 7.2 (c7s1-64, d128, d256, R256 x 9, u128, u64, c7s1-3); architecture after
Johnson et al. 2016. As in the published code, convolutions in front of a batch norm have no bias,
all others do, and the layers are one flat sequence, whose numbers CUT's feature layers refer to.
"""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from zoo.layers.conv import PaddingName, ResidualBlock, check_size
from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.skip import output_channels, output_image, prepare_skip
from zoo.protocols import Shape, Translation
from zoo.registry import GENERATORS


@GENERATORS.register("resnet")
class ResnetGenerator(nn.Module):
    """Residual blocks at a quarter of the resolution. Paper: Zhu et al. 2017, appendix 7.2."""

    offers: frozenset[str] = frozenset()
    size_multiple = 4
    fixed_size = None

    @dataclass(kw_only=True)
    class Config:
        """The published network for 256 x 256 pixels; at 128 x 128 the paper has 6 blocks."""

        width: Annotated[int, "filters of the first layer; four times as many inside"] = 64
        num_blocks: Annotated[int, "residual blocks"] = 9
        norm: Annotated[NormName, "after every convolution but the last"] = "instance"
        padding: Annotated[PaddingName, "inside the residual blocks"] = "reflect"
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"
        input_skip: Annotated[
            bool, "add the input to the output through a learned gate: starts as the identity"
        ] = False

    def __init__(self, config: Config, source: Shape, target: Shape):
        super().__init__()
        check_size("generator resnet", source.height, source.width, multiple=4, least=8)
        width, bias = config.width, config.norm != "batch"

        def block(conv: nn.Module, channels: int) -> list[nn.Module]:
            return [conv, norm_layer(config.norm, channels), nn.ReLU(inplace=True)]

        layers: list[nn.Module] = [nn.ReflectionPad2d(3)]
        layers += block(nn.Conv2d(source.channels, width, 7, bias=bias), width)
        for w in (width, 2 * width):
            down = nn.Conv2d(w, 2 * w, 3, stride=2, padding=1, bias=bias)
            layers += block(down, 2 * w)
        for _ in range(config.num_blocks):
            layers += [ResidualBlock(4 * width, config.norm, config.padding, bias)]
        for w in (4 * width, 2 * width):
            up = nn.ConvTranspose2d(w, w // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
            layers += block(up, w // 2)
        last = nn.Conv2d(width, output_channels(source, target, config.input_skip), 7)
        layers += [nn.ReflectionPad2d(3), last]
        self.layers = nn.Sequential(*layers)

        init_weights(self, config.init)
        self.input_skip = config.input_skip
        if self.input_skip:
            prepare_skip(last)

    def forward(self, x: Tensor) -> Translation:
        """Images N C H W in [-1, 1], sides a multiple of 4; others raise `UserError`."""
        check_size("generator resnet", *x.shape[2:], multiple=4, least=8)
        return Translation(output_image(self.layers(x), x, self.input_skip))
