"""Sampling without aliasing (Zhang 2019, "Making Convolutional Networks Shift-Invariant Again")."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BlurDown(nn.Module):
    """Half the size: a binomial filter 3x3 over reflected borders, then every second pixel.

    Args:
        channels: C, each filtered alone.
    """

    kernel: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("kernel", _binomial(1, 2, 1).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C ceil(H/2) ceil(W/2)."""
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, self.kernel.to(x.dtype), stride=2, groups=len(self.kernel))


class BlurUp(nn.Module):
    """Twice the size: zeros between the pixels, then a binomial filter 4x4.

    Borders are replicated before, and what comes from beyond them is cut off after.

    Args:
        channels: C, each filtered alone.
    """

    kernel: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("kernel", 4 * _binomial(1, 3, 3, 1).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C 2H 2W."""
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        y = F.conv_transpose2d(
            x, self.kernel.to(x.dtype), stride=2, padding=2, groups=len(self.kernel)
        )
        return y[:, :, 1:-1, 1:-1]


def _binomial(*row: float) -> Tensor:
    """The square filter 1 1 K K of a row, with sum 1."""
    weights = torch.tensor(row)
    square = torch.outer(weights, weights)
    return (square / square.sum())[None, None]
