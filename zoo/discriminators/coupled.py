"""The coupled discriminators of CoGAN.

Paper: Liu and Tuzel 2016, "Coupled Generative Adversarial Networks", §3 and the appendix: one for
each domain, which share the layers that judge high-level concepts, all but the first. As deep as
the image size asks for, as wide as the published network for faces of 128 pixels; unlike there,
kernels are 4 x 4, and there is no dropout.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.recompute import recomputed
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS, UserError
from zoo.schema import COUNT

COARSEST = 4  # pixels of the smallest feature maps, which the last convolution covers


@DISCRIMINATORS.register("coupled")
class CoupledDiscriminator(nn.Module):
    """One judge for each domain, which think alike. Paper: Liu and Tuzel 2016, §3.

    Args:
        config: see `Config`.
        shape: of domain A's images.
        second: of domain B's; None for a judge of one domain.

    Attributes:
        sides: the judges of A and of B, of which `forward` is the first; the second needs `second`.
    """

    heads = ("image",)
    pairs = True
    offers = frozenset({"sides"})

    @dataclass(kw_only=True)
    class Config:
        """As wide as the published network for faces."""

        width: Annotated[
            int, "filters of the first layer; at most 32 times as many after", COUNT
        ] = 32
        free_layers: Annotated[int, "first layers that each domain has for itself", COUNT] = 1
        norm: Annotated[NormName, "after every convolution but the first and the last"] = "batch"
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"

    def __init__(self, config: Config, shape: Shape, second: Shape | None = None):
        super().__init__()
        check_size("discriminator coupled", shape.height, shape.width, least=4 * COARSEST)
        count = (min(shape.height, shape.width) // COARSEST).bit_length() - 1
        if config.free_layers >= count:
            raise UserError(
                f"discriminator coupled: free_layers is {config.free_layers}, and {shape.height} x "
                f"{shape.width} pixels make {count} layers, of which one at least is shared"
            )
        widths = [config.width * min(2**n, 32) for n in range(count)]
        free = widths[: config.free_layers]
        shared = widths[config.free_layers - 1 :]
        self.back = nn.Sequential(
            *down_layers(shared, config.norm), nn.Conv2d(widths[-1], 1, COARSEST)
        )
        self.front_a = nn.Sequential(*first_layers(shape.channels, free, config.norm))
        self.front_b = None
        if second is not None:
            self.front_b = nn.Sequential(*first_layers(second.channels, free, config.norm))
        init_weights(self, config.init)
        least = COARSEST * 2**count
        fronts = [front for front in (self.front_a, self.front_b) if front is not None]
        # a tuple: the sides' layers are registered once, as this module's
        self.sides = tuple(Side(front, self.back, least) for front in fronts)

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] of domain A to logits N 1 h w, 1 x 1 at the size built for."""
        return self.sides[0](x)


class Side(nn.Module):
    """One domain's judge: its own first layers and the shared rest."""

    def __init__(self, front: nn.Module, back: nn.Module, least: int):
        super().__init__()
        self.front, self.back, self.least = front, back, least

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] to logits N 1 h w."""
        check_size("discriminator coupled", *x.shape[2:], least=self.least)
        return Judgement((recomputed(self.back, recomputed(self.front, x)),))


def first_layers(channels: int, widths: list[int], norm: NormName) -> list[nn.Module]:
    """From the image to the last of `widths`."""
    first = nn.Conv2d(channels, widths[0], 4, stride=2, padding=1)
    return [first, nn.LeakyReLU(0.2, inplace=True), *down_layers(widths, norm)]


def down_layers(widths: list[int], norm: NormName) -> list[nn.Module]:
    """Layers that halve the size, from each width to the next."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [
            nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=norm != "batch"),
            norm_layer(norm, outputs),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return layers
