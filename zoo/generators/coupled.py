"""The coupled generators of CoGAN.

Paper: Liu and Tuzel 2016, "Coupled Generative Adversarial Networks", §3 and the appendix: two
networks turn one vector into an image of each domain, and share the layers that decode high-level
concepts, all but the last. The layers are those of the published network for faces of 128 pixels,
and more or fewer of them for other sizes.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.init import InitName, init_weights
from zoo.layers.latent import doublings
from zoo.layers.precision import full_precision
from zoo.layers.recompute import recomputed
from zoo.protocols import Shape, Translation
from zoo.registry import GENERATORS, UserError
from zoo.schema import COUNT, NOT_NEGATIVE


@GENERATORS.register("coupled")
class CoupledGenerator(nn.Module):
    """A vector to an image of each domain. Paper: Liu and Tuzel 2016, §3."""

    offers: frozenset[str] = frozenset()
    reads = "latent"
    size_multiple = 16

    @dataclass(kw_only=True)
    class Config:
        """At 128 pixels the published network for faces."""

        width: Annotated[
            int, "filters of the last layer; at most 32 times as many before", COUNT
        ] = 32
        latent_size: Annotated[int, "length of the vector", COUNT] = 100
        free_layers: Annotated[
            int, "up-sampling layers that each domain has for itself", NOT_NEGATIVE
        ] = 1
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"

    def __init__(self, config: Config, a: Shape, b: Shape):
        super().__init__()
        count = doublings("generator coupled", a.height, a.width)
        check_size("generator coupled", b.height, b.width, multiple=2**count)
        if config.free_layers >= count:
            raise UserError(
                f"generator coupled: free_layers is {config.free_layers}, and {a.height} x "
                f"{a.width} pixels make {count} layers, of which one at least is shared"
            )
        self.latent_size = config.latent_size
        self.fixed_size = a.height, a.width
        self.coarse = a.height >> count, a.width >> count
        widths = [config.width * min(2**n, 32) for n in range(count, -1, -1)]
        shared = count - config.free_layers
        self.first = nn.Linear(
            config.latent_size, widths[0] * self.coarse[0] * self.coarse[1], bias=False
        )
        self.shared = nn.Sequential(
            nn.BatchNorm2d(widths[0]), nn.PReLU(), *up_layers(widths[: shared + 1])
        )
        self.free = nn.ModuleList(
            nn.Sequential(
                *up_layers(widths[shared:]),
                nn.Conv2d(widths[-1], shape.channels, 3, padding=1),
            )
            for shape in (a, b)
        )
        init_weights(self, config.init)

    def forward(self, z: Tensor) -> tuple[Translation, Translation]:
        """Vectors N latent_size to images N C H W in [-1, 1] of domain A and of domain B."""
        h = recomputed(self.shared, self.first(z).unflatten(1, (-1, *self.coarse)))
        images = (torch.tanh(full_precision(recomputed(free, h))) for free in self.free)
        a, b = map(Translation, images)
        return a, b


def up_layers(widths: list[int]) -> list[nn.Module]:
    """Layers that double the size, from each width to the next."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(),
        ]
    return layers
