"""The generator of NICE-GAN: a decoder of the features that a discriminator's encoder returns.

Paper: Chen et al. 2020, "Reusing Discriminators for Encoding: Towards Unsupervised Image-to-Image
Translation", §3.1 and the appendix. `light` is as in U-GAT-IT; the paper's numbers are those of the
light version, the full one was never trained by its authors.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.conv_forms import Conv2d
from zoo.layers.init import InitName, init_weights
from zoo.layers.padding import ReflectionPad
from zoo.layers.precision import full_precision
from zoo.layers.recompute import recomputed
from zoo.layers.softlin import SoftAdaLIN, SoftLIN
from zoo.layers.style import Style
from zoo.protocols import Shape, Translation
from zoo.registry import GENERATORS, UserError
from zoo.schema import COUNT


@GENERATORS.register("nicegan")
class NiceganGenerator(nn.Module):
    """Features at a quarter of the resolution, decoded with AdaLIN. Paper: Chen et al. 2020, §3.1.

    `source` is the shape of the features.
    """

    offers: frozenset[str] = frozenset()
    reads = "features"
    size_multiple = 4

    @dataclass(kw_only=True)
    class Config:
        """The published network for 256 x 256 pixels."""

        width: Annotated[
            int, "filters of the last layer but one; four times as many inside", COUNT
        ] = 64
        num_blocks: Annotated[int, "residual blocks", COUNT] = 6
        light: Annotated[bool, "gamma and beta from the global average; else one size only"] = True
        init: Annotated[InitName, "stock: PyTorch's own, as published"] = "stock"

    def __init__(self, config: Config, source: Shape, target: Shape):
        super().__init__()
        check_size("generator nicegan", target.height, target.width, multiple=4, least=8)
        inner = 4 * config.width
        self.stem = nn.Sequential(
            ReflectionPad(1),
            Conv2d(source.channels, inner, 3),
            SoftLIN(inner),
            nn.ReLU(inplace=True),
        )
        self.style = Style(inner, None if config.light else (source.height, source.width))
        self.blocks = nn.ModuleList(SoftAdaLINBlock(inner) for _ in range(config.num_blocks))
        decoder: list[nn.Module] = []
        for w in (inner // 2, inner // 4):
            decoder += [
                ReflectionPad(1),
                Conv2d(2 * w, w, 3, bias=False),
                SoftLIN(w),
                nn.ReLU(inplace=True),
                Conv2d(w, 4 * w, 1),
                nn.PixelShuffle(2),
                SoftLIN(w),
                nn.ReLU(inplace=True),
            ]
        last = Conv2d(config.width, target.channels, 7, bias=False)
        self.decoder = nn.Sequential(*decoder, ReflectionPad(3), last)
        init_weights(self, config.init)
        self.fixed_size = None if config.light else (target.height, target.width)

    def forward(self, z: Tensor) -> Translation:
        """Features N C h w to images N C 4h 4w in [-1, 1].

        Raises:
            UserError: the images would be too small or, unless `light`, not of the size built for.
        """
        height, width = 4 * z.shape[2], 4 * z.shape[3]
        check_size("generator nicegan", height, width, multiple=4, least=8)
        if self.fixed_size and self.fixed_size != (height, width):
            raise UserError(
                f"this nicegan generator was built for {self.fixed_size[0]} x {self.fixed_size[1]} "
                f"pixels and got {height} x {width}; only `light: true` makes other sizes"
            )
        h = recomputed(self.stem, z)
        gamma, beta = self.style(h)
        for block in self.blocks:
            h = recomputed(block, h, gamma, beta)
        return Translation(torch.tanh(full_precision(recomputed(self.decoder, h))))

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: the residual blocks, which share one graph, and the decoder."""
        return [*self.blocks, self.decoder]


class SoftAdaLINBlock(nn.Module):
    """A residual block normalised with `SoftAdaLIN`."""

    def __init__(self, channels: int):
        super().__init__()
        self.pad = ReflectionPad(1)
        self.conv1 = Conv2d(channels, channels, 3, bias=False)
        self.norm1 = SoftAdaLIN(channels)
        self.conv2 = Conv2d(channels, channels, 3, bias=False)
        self.norm2 = SoftAdaLIN(channels)

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """x: N C H W; gamma, beta: N C."""
        h = F.relu(self.norm1(self.conv1(self.pad(x)), gamma, beta), inplace=True)
        return x + self.norm2(self.conv2(self.pad(h)), gamma, beta)
