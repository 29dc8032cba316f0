"""Heads of a discriminator that look at a batch as a whole (UVCGANv2; Karras et al. 2018)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.precision import full_precision

HeadName = Literal["batch_norm_2d", "batch_stdev"]

EPS = 1e-6


class BatchNormHead(nn.Module):
    """Batch norm over all images, then two convolutions 3x3 to one channel.

    Args:
        channels: of the features.
        width: filters between the convolutions.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features N C H W to logits N 1 H W."""
        return self.conv2(F.leaky_relu(self.conv1(self.norm(x))))


class BatchStdevHead(nn.Module):
    """The spread of the batch as one more channel, then two convolutions 3x3 to one channel.

    The spread is one number: the standard deviation over the images, for every channel and
    position, averaged. Karras et al. 2018, "Progressive Growing of GANs", §3.

    Args:
        channels: of the features.
        width: filters between the convolutions.
    """

    whole_batch = "measures the spread of the batch"

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels + 1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features N C H W to logits N 1 H W."""
        variance = full_precision(x).var(dim=0, correction=0)
        spread = (variance + EPS).sqrt().mean().to(x.dtype)
        x = torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], dim=1)
        return self.conv2(F.leaky_relu(self.conv1(x)))


def batch_head(name: HeadName, channels: int, width: int) -> nn.Module:
    """The head of that name."""
    return (BatchNormHead if name == "batch_norm_2d" else BatchStdevHead)(channels, width)


def in_company(head: nn.Module, features: Tensor, others: Tensor | None) -> Tensor:
    """What a head says about `features` in a batch with `others`, which only add statistics.

    Args:
        head: takes and returns one row per image.
        features: N C H W.
        others: M C H W, without a graph, or None.

    Returns:
        N rows.
    """
    if others is None:
        return head(features)
    return head(torch.cat([features, others.to(features.dtype)]))[: len(features)]
