"""Sampling without aliasing (Zhang 2019, "Making Convolutional Networks Shift-Invariant Again")."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.padding import folded
from zoo.layers.precision import no_autocast


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
        if x.device.type == "cpu" and x.requires_grad:
            return _Down.apply(x, self.kernel)
        return _down(x, self.kernel)


def _down(x: Tensor, kernel: Tensor) -> Tensor:
    x = F.pad(x, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(x, kernel.to(x.dtype), stride=2, groups=len(kernel))


class _Down(torch.autograd.Function):
    """Back, each gradient is spread with the weights 1/4 1/2 1/4 both ways.

    That is what doubling with linear interpolation does, but for the half at every pixel; the
    library's gradient of a convolution of single channels takes up to ten times as long.
    """

    @staticmethod
    def forward(ctx, x, kernel):
        ctx.sides, ctx.contiguous = x.shape[2:], x.is_contiguous()
        return _down(x, kernel)

    @staticmethod
    def backward(ctx, grad):
        height, width = ctx.sides
        few = (grad / 4).contiguous(memory_format=torch.channels_last)  # of the quick kernel
        few = F.pad(few, (1, 2, 1, 2))
        doubled = [2 * side - 1 for side in few.shape[2:]]
        many = F.interpolate(few, doubled, mode="bilinear", align_corners=True)
        padded = many[:, :, 1 : height + 3, 1 : width + 3]
        grad = folded(folded(padded, 2, 1), 3, 1)
        return grad.contiguous() if ctx.contiguous else grad, None


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
        if x.device.type == "cpu":
            return _doubled(x)
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        y = F.conv_transpose2d(
            x, self.kernel.to(x.dtype), stride=2, padding=2, groups=len(self.kernel)
        )
        return y[:, :, 1:-1, 1:-1]


def _doubled(x: Tensor) -> Tensor:
    """The same as linear interpolation, which on channels-last images is ten times quicker.

    On a GPU its gradient would be added up in no fixed order.
    """
    with no_autocast(x):
        y = F.interpolate(
            x.contiguous(memory_format=torch.channels_last),
            scale_factor=2,
            mode="bilinear",
            align_corners=False,
        )
    return y.contiguous() if x.is_contiguous() else y


def _binomial(*row: float) -> Tensor:
    """The square filter 1 1 K K of a row, with sum 1."""
    weights = torch.tensor(row)
    square = torch.outer(weights, weights)
    return (square / square.sum())[None, None]
