"""Normalisation: instance norm, AdaLIN and LIN (Kim et al. 2020, U-GAT-IT, §2.1.1).

Never `F.instance_norm`: torch 2.13 computes a wrong gradient for it on CPU at batch 1 when the
incoming gradient is in channels-last layout. Contiguous images go through `F.group_norm`, which is
one kernel each way, several times faster on CPU and with statistics in float32 whatever the image
is in. Its backward of channels-last images is slow; on a CPU each of them is a batch of its own for
batch norm. Compiled graphs, which fuse it, and GPUs take `torch.var_mean`.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.precision import full_precision, no_autocast

EPS = 1e-5

NormName = Literal["instance", "batch", "none"]


def instance_norm(x: Tensor, eps: float = EPS) -> Tensor:
    """Zero mean and unit variance for every image and channel (Ulyanov et al. 2016).

    Args:
        x: N C H W.
        eps: added to the variance, which is the biased one (divided by n).
    """
    if _by_kernel(x):
        return _group_norm(x, x.shape[1], None, None, eps)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return _by_image(x, eps)
    h = full_precision(x)
    var, mean = torch.var_mean(h, dim=(2, 3), correction=0, keepdim=True)
    return ((h - mean) * torch.rsqrt(var + eps)).to(x.dtype)


def adalin(x: Tensor, gamma: Tensor, beta: Tensor, rho: Tensor, eps: float = EPS) -> Tensor:
    """Adaptive layer-instance normalisation (U-GAT-IT, Eq. 1).

    y = gamma (rho a_I + (1 - rho) a_L) + beta, where a_I is x normalised over (H, W) and a_L is x
    normalised over (C, H, W), both with the unbiased variance (divided by n - 1).

    Args:
        x: N C H W.
        gamma: scale, N C 1 1 (one for every image) or 1 C 1 1.
        beta: shift, of the same shape.
        rho: 1 C 1 1, in [0, 1]; 1 is instance norm, 0 is layer norm.
        eps: added to the variances.
    """
    gamma, beta = full_precision(gamma), full_precision(beta)
    if _by_kernel(x):
        return _adalin_by_groups(x, gamma * rho, gamma * (1 - rho), beta, eps)
    h = full_precision(x)
    return _adalin_by_statistics(h, gamma * rho, gamma * (1 - rho), beta, eps).to(x.dtype)


def _by_kernel(x: Tensor) -> bool:
    return x.is_contiguous() and not torch.compiler.is_compiling()


def _by_image(x: Tensor, eps: float) -> Tensor:
    # A scale in float32 has the kernel take the statistics in it, too.
    one = torch.ones(x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))
    options = one, torch.zeros_like(one), None, None, True, 0.0, eps, False
    images = [torch.batch_norm(image, *options) for image in x.split(1)]
    return torch.cat(images) if len(images) > 1 else images[0]


def _group_norm(
    x: Tensor, groups: int, scale: Tensor | None, shift: Tensor | None, eps: float
) -> Tensor:
    """`F.group_norm` in the dtype of `x`; autocast would widen image and result to float32."""
    with no_autocast(x):
        return F.group_norm(x, groups, scale, shift, eps)


def _adalin_by_groups(
    x: Tensor, by_instance: Tensor, by_layer: Tensor, beta: Tensor, eps: float
) -> Tensor:
    """Two group norms over all channels of all images, N C groups of one and N groups of C."""
    n, c, height, width = x.shape

    def normalise(groups: int, weight: Tensor, bias: Tensor | None) -> Tensor:
        # group norm divides by n, so: 1/sqrt(v n/(n-1) + eps) = k/sqrt(v + k^2 eps), k^2 = (n-1)/n
        count = n * c // groups * height * width
        k = math.sqrt((count - 1) / count)
        scale = (k * weight).expand(n, c, 1, 1).reshape(-1)
        shift = None if bias is None else bias.expand(n, c, 1, 1).reshape(-1)
        flat = x.reshape(1, n * c, height, width)
        return _group_norm(flat, groups, scale, shift, k * k * eps)

    y = normalise(n * c, by_instance, beta) + normalise(n, by_layer, None)
    return y.view_as(x)


def _adalin_by_statistics(
    x: Tensor, by_instance: Tensor, by_layer: Tensor, beta: Tensor, eps: float
) -> Tensor:
    """One scale and one shift per channel, the layer's statistics from those of the instances."""
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    var, mean = torch.var_mean(x, dim=(2, 3), keepdim=True)  # N C 1 1
    layer_mean = mean.mean(dim=1, keepdim=True)  # N 1 1 1
    squares = (pixels - 1) * var + pixels * (mean - layer_mean).square()
    layer_var = squares.sum(dim=1, keepdim=True) / (channels * pixels - 1)

    by_instance = by_instance * torch.rsqrt(var + eps)
    by_layer = by_layer * torch.rsqrt(layer_var + eps)
    shift = beta - by_instance * mean - by_layer * layer_mean
    return torch.addcmul(shift, x, by_instance + by_layer)


def lin(x: Tensor, gamma: Tensor, beta: Tensor, rho: Tensor, eps: float = EPS) -> Tensor:
    """Layer-instance normalisation: `adalin` with learned gamma and beta, each 1 C 1 1."""
    return adalin(x, gamma, beta, rho, eps)


class InstanceNorm(nn.Module):
    """`instance_norm` as a layer; no parameters, no running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C H W."""
        return instance_norm(x)


class AdaLIN(nn.Module):
    """`adalin` with a learned rho; gamma and beta come with every call.

    Args:
        channels: C.
        rho: the value at the start, published 0.9.
    """

    def __init__(self, channels: int, rho: float = 0.9):
        super().__init__()
        self.rho = nn.Parameter(torch.full((1, channels, 1, 1), rho))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """x: N C H W; gamma, beta: N C."""
        return adalin(x, gamma[:, :, None, None], beta[:, :, None, None], self.rho)

    @torch.no_grad()
    def constrain(self) -> None:
        """Put rho back into [0, 1] (§2.1.1, after Eq. 1); the updater does so after every step."""
        self.rho.clamp_(0, 1)


class LIN(nn.Module):
    """`lin` with learned rho, gamma and beta.

    Args:
        channels: C.
        rho: the value at the start, published 0.
    """

    def __init__(self, channels: int, rho: float = 0.0):
        super().__init__()
        self.rho = nn.Parameter(torch.full((1, channels, 1, 1), rho))
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C H W."""
        return lin(x, self.gamma, self.beta, self.rho)

    @torch.no_grad()
    def constrain(self) -> None:
        """As `AdaLIN.constrain`."""
        self.rho.clamp_(0, 1)


class AdaIN(nn.Module):
    """Adaptive instance normalisation (Huang and Belongie 2017); gamma and beta come with calls."""

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """x: N C H W; gamma, beta: N C."""
        h = gamma[:, :, None, None] * full_precision(instance_norm(x)) + beta[:, :, None, None]
        return h.to(x.dtype)


class AffineNorm(nn.Module):
    """Normalisation over groups of channels of one image, then a learned scale and shift.

    Args:
        channels: C.
        groups: C is instance norm, 1 layer norm (over C, H, W), between them group norm (Wu and He
            2018).
    """

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.groups = groups
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C H W."""
        h = full_precision(x).contiguous()  # the kernel's gradient is for contiguous images
        return F.group_norm(h, self.groups, self.gamma, self.beta, EPS).to(x.dtype)


def norm_layer(name: NormName, channels: int) -> nn.Module:
    """The norm of that name for `channels` channels: instance (no parameters), batch or none."""
    if name == "instance":
        return InstanceNorm()
    if name == "batch":
        return nn.BatchNorm2d(channels)
    return nn.Identity()
