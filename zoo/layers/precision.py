"""Where autocast must not reach."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 if it is that already.

    Statistics, losses and the last non-linearity of a network are computed so: bfloat16 has eight
    bits and float16 overflows at 65 504.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def no_autocast(tensor: Tensor) -> AbstractContextManager:
    """A context without autocast on the tensor's device; tensors that are shapes only have none."""
    device = tensor.device.type
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)
