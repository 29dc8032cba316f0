"""Layers with spectral normalisation (Miyato et al. 2018), the residual block and size checks."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.conv_forms import Conv2d, conv2d
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.precision import no_autocast
from zoo.registry import UserError

PaddingName = Literal["reflect", "replicate", "zero"]


class SpectralNorm(nn.Module):
    """Adds `sigma`, the largest singular value, to a layer with a `weight`; u and v are buffers.

    `weight` stays the raw parameter W. Every forward in training mode does one power iteration,
    v = W'u / |W'u|, then u = Wv / |Wv|; evaluation mode uses the stored vectors. As the layers are
    linear, it is their output that is divided by sigma: that is smaller than most weights.

    Attributes:
        parts: inputs that a batch holds one after the other; each has an iteration of its own.
    """

    weight: Tensor
    u: Tensor
    v: Tensor
    parts: int

    def _make_vectors(self) -> None:
        rows = self.weight.flatten(1)
        self.register_buffer("u", F.normalize(torch.randn(rows.shape[0]), dim=0, eps=1e-12))
        self.register_buffer("v", F.normalize(torch.randn(rows.shape[1]), dim=0, eps=1e-12))
        self.parts = 1

    def sigma(self) -> Tensor:
        """The scalar u'Wv, in training mode after a power iteration; gradient goes to W.

        Computed in float32 under any autocast.
        """
        with no_autocast(self.weight):
            rows = self.weight.flatten(1)
            if not self.training:
                return torch.dot(self.u.clone(), torch.mv(rows, self.v.clone()))  # may yet change
            with torch.no_grad():
                v = F.normalize(torch.mv(rows.t(), self.u), dim=0, eps=1e-12)
            product = torch.mv(rows, v)
            with torch.no_grad():
                u = F.normalize(product, dim=0, eps=1e-12)
                self.u.copy_(u)
                self.v.copy_(v)
            return torch.dot(u, product)

    def divided(self, y: Tensor) -> Tensor:
        """Y / sigma, N ..., with the sigma of the part that an image belongs to."""
        if self.parts == 1:
            return y / self.sigma()
        sigmas = torch.stack([self.sigma() for _ in range(self.parts)])
        return (y.unflatten(0, (self.parts, -1)) / sigmas.view(-1, *[1] * y.dim())).flatten(0, 1)


class SpectralConv2d(SpectralNorm, nn.Conv2d):
    """`nn.Conv2d` whose weight is divided by its largest singular value."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._make_vectors()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' H' W'."""
        y = conv2d(x, self.weight, None, self.stride[0], int(self.padding[0]))
        y = self.divided(y)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]


class SpectralLinear(SpectralNorm, nn.Linear):
    """`nn.Linear` whose weight is divided by its largest singular value."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._make_vectors()

    def forward(self, x: Tensor) -> Tensor:
        """N C to N C'."""
        y = self.divided(F.linear(x, self.weight))
        return y if self.bias is None else y + self.bias.to(y.dtype)


def pad_layer(name: PaddingName, pixels: int) -> nn.Module:
    """The padding layer of that name."""
    layers = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}
    return layers.get(name, nn.ZeroPad2d)(pixels)


class ResidualBlock(nn.Module):
    """x + f(x); f is twice {pad, conv 3x3, norm} with a ReLU between (Johnson et al. 2016).

    Args:
        channels: of input and output.
        norm: after both convolutions.
        padding: before both convolutions.
        bias: of both convolutions.
    """

    def __init__(self, channels: int, norm: NormName, padding: PaddingName, bias: bool):
        super().__init__()
        self.pad = pad_layer(padding, 1)
        self.conv1 = Conv2d(channels, channels, 3, bias=bias)
        self.norm1 = norm_layer(norm, channels)
        self.conv2 = Conv2d(channels, channels, 3, bias=bias)
        self.norm2 = norm_layer(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C H W."""
        h = F.relu(self.norm1(self.conv1(self.pad(x))), inplace=True)
        return x + self.norm2(self.conv2(self.pad(h)))


def check_size(owner: str, height: int, width: int, *, multiple: int = 1, least: int = 1) -> None:
    """Refuse image sizes that a network cannot process.

    Raises:
        UserError: a side is below `least` pixels or not divisible by `multiple`.
    """
    if height % multiple or width % multiple:
        raise UserError(
            f"{owner} cannot process images of {height} x {width} pixels: "
            f"height and width must be multiples of {multiple}"
        )
    if min(height, width) < least:
        raise UserError(
            f"{owner} cannot process images of {height} x {width} pixels: "
            f"height and width must be at least {least}"
        )
