"""The generator of DiscoGAN.

Paper: Kim et al. 2017, "Learning to Discover Cross-Domain Relations with Generative Adversarial
Networks", §4: an encoder and a decoder of 4 x 4 convolutions. As in the published code, no
convolution has a bias, the first and the last have no norm, and `extra_layers` is the code's
bottleneck of 100 channels, 1 x 1 pixel at 64 x 64. The published network reads and makes images in
[0, 1], with a sigmoid; this one rescales at its border.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.conv_forms import Conv2d
from zoo.layers.depth import Depth, resolve_depth
from zoo.layers.init import InitName, init_weights
from zoo.layers.precision import full_precision
from zoo.layers.recompute import recomputed
from zoo.protocols import Shape, Translation
from zoo.registry import GENERATORS, UserError
from zoo.schema import COUNT, Bounds

PUBLISHED = 4
FEWEST = 2


@GENERATORS.register("disco")
class DiscoGenerator(nn.Module):
    """A plain encoder and decoder with batch norm. Paper: Kim et al. 2017 (DiscoGAN), §4.

    Attributes:
        resolved: the config's `auto` value as it came out, `{"num_layers": …}`.
    """

    offers: frozenset[str] = frozenset()
    fixed_size = None

    @dataclass(kw_only=True)
    class Config:
        """The published network for 64 x 64 pixels."""

        width: Annotated[int, "filters of the first layer, doubled by every further one", COUNT] = (
            64
        )
        num_layers: Annotated[
            Depth,
            "layers of stride 2 each way; auto: 4, or the most that fit",
            Bounds(least=FEWEST),
        ] = "auto"
        extra_layers: Annotated[bool, "a bottleneck of 100/64 width channels"] = False
        init: Annotated[InitName, "stock: PyTorch's own, as published"] = "stock"

    def __init__(self, config: Config, source: Shape, target: Shape):
        super().__init__()
        self.bottleneck = config.extra_layers
        self.inner_least = 4 if self.bottleneck else 2  # of the encoded features, pixels
        side = min(source.height, source.width)
        depth = resolve_depth(
            config.num_layers, side, inner=self.inner_least, fewest=FEWEST, most=PUBLISHED
        )
        self.resolved = {"num_layers": depth}
        self.size_multiple = 2**depth
        self.owner = f"generator disco with num_layers {depth}"
        self._check(source.height, source.width)

        widths = [config.width * 2**n for n in range(depth)]
        layers: list[nn.Module] = []
        for n, w in enumerate(widths):
            inputs = widths[n - 1] if n else source.channels
            layers += [Conv2d(inputs, w, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(w)] if n else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        if self.bottleneck:
            inner = max(2, 100 * config.width // 64)
            layers += [
                Conv2d(widths[-1], inner, 4, bias=False),
                nn.BatchNorm2d(inner),
                nn.LeakyReLU(0.2, inplace=True),
                nn.ConvTranspose2d(inner, widths[-1], 4, bias=False),
                nn.BatchNorm2d(widths[-1]),
                nn.ReLU(inplace=True),
            ]
        for w in reversed(widths[1:]):
            layers += [
                nn.ConvTranspose2d(w, w // 2, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(w // 2),
                nn.ReLU(inplace=True),
            ]
        last = nn.ConvTranspose2d(widths[0], target.channels, 4, stride=2, padding=1, bias=False)
        self.layers = nn.Sequential(*layers, last)
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Translation:
        """Images N C H W in [-1, 1], sides a multiple of `size_multiple`.

        Raises:
            UserError: the sides are no such multiples or too small; or batch norm would be left
                with a single number per channel, in training on one image.
        """
        self._check(*x.shape[2:])
        one_number = 4 * self.size_multiple
        if self.bottleneck and self.training and x.shape[2:].numel() * len(x) == one_number**2:
            raise UserError(
                f"{self.owner} and extra_layers cannot be trained on one image of {one_number} x "
                f"{one_number} pixels: its bottleneck is 1 x 1, of which batch norm has no "
                f"statistics; use batches of at least 2"
            )
        unit = torch.sigmoid(full_precision(recomputed(self.layers, (x + 1) / 2)))  # in [0, 1]
        return Translation(2 * unit - 1)

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: all of it, as no two layers are alike."""
        return [self]

    def _check(self, height: int, width: int) -> None:
        least = self.inner_least * self.size_multiple
        check_size(self.owner, height, width, multiple=self.size_multiple, least=least)
