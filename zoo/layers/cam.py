"""Attention from a class activation map (Zhou et al. 2016), as in U-GAT-IT §2.1.1."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.conv import SpectralLinear
from zoo.layers.conv_forms import conv2d
from zoo.layers.precision import full_precision


class CAM(nn.Module):
    """Weighs feature maps by how much they say about the domain of the image.

    Two linear classifiers look at the global average and the global maximum of every channel; their
    weights then scale the channels, and a 1x1 convolution mixes both scaled copies.

    Args:
        channels: of input and output.
        slope: of the leaky ReLU after the 1x1 convolution; 0 is a ReLU.
        spectral: spectral normalisation of the classifiers, as in the published discriminators.
            The channels are scaled by the *raw* weights all the same, as published, so these get a
            gradient from two sides.
    """

    def __init__(self, channels: int, slope: float = 0.0, spectral: bool = False):
        super().__init__()
        linear = SpectralLinear if spectral else nn.Linear
        self.average = linear(channels, 1, bias=False)
        self.maximum = linear(channels, 1, bias=False)
        self.mix = nn.Conv2d(2 * channels, channels, 1)
        self.slope, self.channels = slope, channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: N C H W. Returns features N C H W, logits N 2 (average, maximum), heatmap N 1 H W."""
        average = self.average(x.mean(dim=(2, 3)))
        maximum = self.maximum(x.amax(dim=(2, 3)))
        logits = torch.cat([average, maximum], dim=1)

        # conv(cat(x w_average, x w_maximum)), with the weights on what is smaller: x or the kernel
        scales = [c.weight[:, :, None, None] for c in (self.average, self.maximum)]
        if x.numel() < self.channels**2:
            both = torch.cat([x * scale for scale in scales], dim=1)
            h = conv2d(both, self.mix.weight, self.mix.bias)
        else:
            kernels = self.mix.weight.chunk(2, dim=1)
            kernel = kernels[0] * scales[0] + kernels[1] * scales[1]
            h = conv2d(x, kernel, self.mix.bias)
        h = F.leaky_relu(h, self.slope)
        return h, logits, full_precision(h).sum(dim=1, keepdim=True)


def heat_colours(heatmap: Tensor, height: int, width: int) -> Tensor:
    """A heat map as a picture, blue (low) to red (high).

    Args:
        heatmap: N 1 h w, any range.
        height: of the picture.
        width: of the picture.

    Returns:
        N 3 height width in [-1, 1], every map stretched to the full range of colours.
    """
    low = heatmap.amin(dim=(2, 3), keepdim=True)
    high = heatmap.amax(dim=(2, 3), keepdim=True)
    heat = (heatmap - low) / (high - low).clamp_min(1e-12)
    heat = F.interpolate(heat, (height, width), mode="bilinear", align_corners=False)
    peaks = torch.tensor([3.0, 2.0, 1.0], device=heat.device)[:, None, None]  # red, green, blue
    return 2 * (1.5 - (4 * heat - peaks).abs()).clamp(0, 1) - 1
