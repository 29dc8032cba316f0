"""The discriminators of NICE-GAN, whose first layers encode images for the generators.

Paper: Chen et al. 2020, "Reusing Discriminators for Encoding: Towards Unsupervised Image-to-Image
Translation", §3.1 and the appendix. As in the published code, all convolutions but the 1x1 of
the attention are spectrally normalised, the attention's channels are scaled by the raw weights of
its classifier, and of the paper's three scales the middle and the largest are there.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.conv import SpectralConv2d, SpectralLinear, check_size
from zoo.layers.depth import Depth, resolve_depth
from zoo.layers.init import InitName, init_weights
from zoo.layers.padding import ReflectionPad
from zoo.layers.precision import full_precision
from zoo.layers.recompute import recomputed
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS
from zoo.schema import COUNT, Bounds

PUBLISHED = 7
FEWEST = 4


@DISCRIMINATORS.register("nicegan")
class NiceganDiscriminator(nn.Module):
    """An encoder with attention, and two judges of its features. Paper: Chen et al. 2020, §3.1.

    Attributes:
        encoder: the first layers.
        encoded: the shape of the encoder's features.
        resolved: the config's `auto` value as it came out, `{"num_layers": …}`.
    """

    heads = ("local", "global", "cam")
    offers = frozenset({"encoder", "features"})

    @dataclass(kw_only=True)
    class Config:
        """Defaults are the published network for 256 x 256 pixels."""

        width: Annotated[int, "filters of the first layer", COUNT] = 64
        num_layers: Annotated[
            Depth,
            "convolutions of the global judge and its encoder; auto: 7, or the most that fit",
            Bounds(least=FEWEST),
        ] = "auto"
        init: Annotated[InitName, "stock: PyTorch's own, as published"] = "stock"

    def __init__(self, config: Config, shape: Shape):
        super().__init__()
        side = min(shape.height, shape.width)
        # inner: 3 pixels are left by num_layers - 2 halvings
        n = resolve_depth(config.num_layers, 4 * side, inner=3, fewest=FEWEST, most=PUBLISHED)
        self.resolved = {"num_layers": n}
        self.least = 3 * 2 ** (n - 2)
        self.owner = f"discriminator nicegan with num_layers {n}"
        check_size(self.owner, shape.height, shape.width, least=self.least)

        width = config.width
        self.encoder = Encoder(shape.channels, width)
        self.encoded = Shape(2 * width, shape.height // 4, shape.width // 4)
        shared = max(2, n - 4)  # strided convolutions of the local judge, with the encoder's
        self.shared = nn.Sequential(*_blocks(width, range(2, shared)))
        self.local_judge = nn.Sequential(*_judge(width, shared))
        self.global_judge = nn.Sequential(
            *_blocks(width, range(shared, n - 2)), *_judge(width, n - 2)
        )
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] to logits of `heads`, N 1 h w twice and N 1, and the features.

        The one entry of `features` is what the encoder returns for the generators.
        """
        check_size(self.owner, *x.shape[2:], least=self.least)
        z, cam_logits, heatmap = recomputed(self.encoder, x)
        h = recomputed(self.shared, z)
        logits = recomputed(self.local_judge, h), recomputed(self.global_judge, h), cam_logits
        return Judgement(logits, (z,), heatmap)

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: all of it, as no two layers are alike."""
        return [self]


class Encoder(nn.Module):
    """Two strided convolutions and attention as a residual; 2 `width` features at a quarter size.

    Args:
        channels: of the image.
        width: filters of the first layer.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        first = [ReflectionPad(1), SpectralConv2d(channels, width, 4, stride=2)]
        self.layers = nn.Sequential(
            *first, nn.LeakyReLU(0.2, inplace=True), *_blocks(width, range(1, 2))
        )
        self.classifier = SpectralLinear(4 * width, 1, bias=False)
        self.mix = nn.Conv2d(4 * width, 2 * width, 1)
        self.lamda = nn.Parameter(torch.zeros(1))  # of the attention; none at the start

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images N C H W to features N 2 width h w, CAM logits N 1, heatmap N 1 h w."""
        h = self.layers(x)
        logits = self.classifier(torch.cat([h.mean(dim=(2, 3)), h.amax(dim=(2, 3))], dim=1))

        # conv(cat(h, h) w) is one convolution of h with the sum of the scaled kernels
        kernel = self.mix.weight * self.classifier.weight[:, :, None, None]
        kernel = torch.stack(kernel.chunk(2, dim=1)).sum(dim=0)
        attended = F.conv2d(h, kernel, self.mix.bias)
        z = F.leaky_relu(self.lamda * attended + h, 0.2)
        return z, logits, full_precision(z).sum(dim=1, keepdim=True)


def _blocks(width: int, numbers: range) -> list[nn.Module]:
    """Strided convolutions; number n makes `width` 2^n channels from half as many."""
    layers: list[nn.Module] = []
    for n in numbers:
        layers += [
            ReflectionPad(1),
            SpectralConv2d(width * 2 ** (n - 1), width * 2**n, 4, stride=2),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return layers


def _judge(width: int, n: int) -> list[nn.Module]:
    """Two convolutions of stride 1 to one channel, from `width` 2^(n - 1) channels."""
    return [
        ReflectionPad(1),
        SpectralConv2d(width * 2 ** (n - 1), width * 2**n, 4),
        nn.LeakyReLU(0.2, inplace=True),
        ReflectionPad(1),
        SpectralConv2d(width * 2**n, 1, 4, bias=False),
    ]
