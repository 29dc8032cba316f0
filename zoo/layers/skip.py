"""A skip from the input image to the output image, which the network can close pixel by pixel."""

import torch
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.protocols import Shape
from zoo.registry import UserError

REACH = 0.98  # atanh is infinite at 1


def output_channels(source: Shape, target: Shape, input_skip: bool) -> int:
    """Filters of the last convolution: the image's channels, and the gate's with a skip.

    Raises:
        UserError: a skip between domains that differ in channels.
    """
    if input_skip and source.channels != target.channels:
        raise UserError(
            f"input_skip adds the input to the output, but the source domain has "
            f"{source.channels} channels and the target domain {target.channels}; "
            f"set input_skip to false"
        )
    return target.channels + input_skip


def prepare_skip(last: nn.Conv2d) -> None:
    """Shrink the last convolution to a hundredth, so that an untrained network changes little."""
    with torch.no_grad():
        last.weight.mul_(0.01)
        if last.bias is not None:
            last.bias.zero_()


def output_image(h: Tensor, x: Tensor, input_skip: bool) -> Tensor:
    """The image of a generator: tanh(h), or with a skip tanh(h + g atanh(0.98 x)).

    The gate g = 2 sigmoid(last channel of the convolution), 0 to 2, is 1 for an untrained network,
    which then returns 0.98 x, and lets go of the input (its noise above all) where it is 0.

    Args:
        h: output of the last convolution, N C H W, with a skip N C+1 H W.
        x: input image N C H W in [-1, 1].
        input_skip: whether `x` is added.

    Returns:
        N C H W in [-1, 1], float32 (float64 where h is).
    """
    h = full_precision(h).contiguous()
    if input_skip:
        gate = 2 * torch.sigmoid(h[:, -1:])
        h = h[:, :-1] + gate * torch.atanh(REACH * full_precision(x))
    return torch.tanh(h)
