"""The order in which an image's numbers lie in memory."""

import torch
from torch import Tensor


def for_convolutions(x: Tensor) -> Tensor:
    """`x`, N C H W, as the convolutions that follow want it; other layers keep the order.

    On a CPU, the library computes in bfloat16 on channels-last images, and re-orders others before
    and after every convolution. In float32 it gains nothing, and norms are slower. What is compiled
    chooses for itself.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not _in_bfloat16():
        return x
    return x.to(torch.bfloat16, memory_format=torch.channels_last)


def _in_bfloat16() -> bool:
    on = torch.is_autocast_enabled("cpu")
    return on and torch.get_autocast_dtype("cpu") == torch.bfloat16
