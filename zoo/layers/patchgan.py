"""The layers of the patch discriminator (Isola et al. 2017), which several discriminators have."""

from typing import Literal

from torch import nn

from zoo.layers.blur import BlurDown
from zoo.layers.conv_forms import Conv2d
from zoo.layers.norm import NormName, norm_layer

DownName = Literal["strided", "blurred"]


def patch_layers(
    channels: int, width: int, num_layers: int, norm: NormName, down: DownName
) -> nn.Sequential:
    """Convolutions 4x4 from images N C H W to logits N 1 h w.

    As in the published code, convolutions in front of a batch norm have no bias, all others do.

    Args:
        channels: of the images.
        width: filters of the first layer, doubled by every further one up to eight times.
        num_layers: layers that halve the size; two of stride 1 follow.
        norm: after every convolution but the first and the last.
        down: how the size is halved: by stride, or by a blur behind (Zhang 2019).
    """
    bias, blurred = norm != "batch", down == "blurred"
    widths = [width * min(2**n, 8) for n in range(num_layers + 1)]
    layers: list[nn.Module] = []
    for n, outputs in enumerate(widths):
        halves = n < num_layers
        inputs, stride = (widths[n - 1] if n else channels, 2 if halves and not blurred else 1)
        layers += [Conv2d(inputs, outputs, 4, stride=stride, padding=1, bias=bias or not n)]
        if n:
            layers += [norm_layer(norm, outputs)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        if halves and blurred:
            layers += [BlurDown(outputs)]
    layers += [Conv2d(widths[-1], 1, 4, padding=1)]
    return nn.Sequential(*layers)


def smallest_side(num_layers: int) -> int:
    """Pixels of the smallest images: 2 x 2 features before the last convolution."""
    return 3 * 2**num_layers
