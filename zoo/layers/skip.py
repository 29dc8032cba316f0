"""A skip from the input image to the output image."""

import torch
from torch import Tensor, nn

from zoo.layers.precision import full_precision
from zoo.protocols import Shape
from zoo.registry import UserError

REACH = 0.98  # atanh is infinite at 1


def prepare_skip(last: nn.Conv2d, source: Shape, target: Shape) -> None:
    """Shrink the last convolution to a hundredth, so that an untrained network changes little.

    Raises:
        UserError: the two domains differ in channels.
    """
    if source.channels != target.channels:
        raise UserError(
            f"input_skip adds the input to the output, but the source domain has "
            f"{source.channels} channels and the target domain {target.channels}; "
            f"set input_skip to false"
        )
    with torch.no_grad():
        last.weight.mul_(0.01)
        if last.bias is not None:
            last.bias.zero_()


def output_image(h: Tensor, x: Tensor, input_skip: bool) -> Tensor:
    """The image of a generator: tanh(h), or with a skip tanh(h + atanh(0.98 x)).

    Args:
        h: output of the last convolution, N C H W.
        x: input image N C H W in [-1, 1].
        input_skip: whether `x` is added; with h = 0 the image is then 0.98 x.

    Returns:
        N C H W in [-1, 1], float32 (float64 where h is).
    """
    h = full_precision(h)
    if input_skip:
        h = h + torch.atanh(REACH * full_precision(x))
    return torch.tanh(h)
