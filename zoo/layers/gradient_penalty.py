"""The gradient penalty of UVCGANv2, after Gulrajani et al. 2017 and Mescheder et al. 2018."""

from typing import Literal

import torch
from torch import Tensor

from zoo.layers.precision import full_precision

Point = Literal["real", "fake", "real-fake"]


def penalty_point(real: Tensor, fake: Tensor, where: Point) -> Tensor:
    """The images that the gradient is taken at, detached.

    Args:
        real: N C H W.
        fake: N C H W.
        where: one side, or alpha real + (1 - alpha) fake with one alpha in [0, 1) for the batch.
    """
    if where == "real-fake":
        alpha = torch.rand(1, dtype=real.dtype, device=real.device)
        return (alpha * real + (1 - alpha) * fake).detach()
    return (real if where == "real" else fake).detach()


def gradient_penalty(logits_of, x: Tensor, centre: float) -> Tensor:
    """Mean over images of (|g| - centre)^2, differentiable; g is the gradient at one image.

    It is that of the mean over a head's logits, summed over heads. Float32 under any autocast.

    Args:
        logits_of: images N C H W to a tuple of logits N …
        x: images N C H W, without a graph.
        centre: the norm that costs nothing.
    """
    x = full_precision(x).requires_grad_()
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        total = torch.stack([head.flatten(1).mean(dim=1).sum() for head in logits_of(x)]).sum()
        (g,) = torch.autograd.grad(total, x, create_graph=True)
        return (g.flatten(1).norm(dim=1) - centre).square().mean()
