"""Layers with spectral normalisation (Miyato et al. 2018), the residual block and size checks."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.batch_values import once_a_batch
from zoo.layers.conv_forms import Conv2d, as_matrix_product, conv2d, is_matrix_product
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.padding import ReflectionPad
from zoo.layers.precision import full_precision, no_autocast
from zoo.registry import UserError

PaddingName = Literal["reflect", "replicate", "zero"]


class SpectralNorm(nn.Module):
    """Adds `sigma`, the largest singular value, to a layer with a `weight`; u and v are buffers.

    `weight` stays the raw parameter W. Every forward in training mode does one power iteration,
    v = W'u / |W'u|, then u = Wv / |Wv|; evaluation mode uses the stored vectors. Micro-batches of
    one batch share the iteration. As the layers are linear, it is their output that is divided by
    sigma: that is smaller than most weights.

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
        """U'Wv of each part, in training mode after its power iteration; gradient goes to W.

        Computed in float32 under any autocast.
        """
        with no_autocast(self.weight):
            u, v = self.vectors()
            return (u * F.linear(v, self.weight.flatten(1))).sum(dim=1)

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        """What u and v are for each part, parts O and parts C; in training they are moved on."""
        if not self.training:
            return self.u.clone().expand(self.parts, -1), self.v.clone().expand(self.parts, -1)
        us, vs = once_a_batch(self._iterate)
        self.u.copy_(us[-1])
        self.v.copy_(vs[-1])
        return us, vs

    def _iterate(self) -> tuple[Tensor, Tensor]:
        us, vs = [], []
        with no_autocast(self.weight):
            rows, u = self.weight.flatten(1), self.u
            for _ in range(self.parts):
                v = F.normalize(torch.mv(rows.t(), u), dim=0, eps=1e-12)
                u = F.normalize(torch.mv(rows, v), dim=0, eps=1e-12)
                us.append(u)
                vs.append(v)
        return torch.stack(us), torch.stack(vs)

    def divided(self, y: Tensor, sigma: Tensor) -> Tensor:
        """The output y / sigma, N ..., with the sigma of the part that an image belongs to."""
        if self.parts == 1:
            return y / sigma[0]
        divided = y.unflatten(0, (self.parts, -1)) / sigma.view(-1, *[1] * y.dim())
        return divided.flatten(0, 1).to(y.dtype)


class SpectralConv2d(SpectralNorm, nn.Conv2d):
    """`nn.Conv2d` whose weight is divided by its largest singular value."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._make_vectors()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' H' W'."""
        stride, padding = self.stride[0], int(self.padding[0])
        if self.training and is_matrix_product(x, self.weight, stride, padding):
            y, sigma = self._with_sigma(x, stride, padding)
        else:
            y, sigma = conv2d(x, self.weight, None, stride, padding), self.sigma()
        y = self.divided(y, sigma)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]

    def _with_sigma(self, x: Tensor, stride: int, padding: int) -> tuple[Tensor, Tensor]:
        """The convolution and sigma, from one matrix product: v is one more patch of the image.

        So one product gives the gradient of both, where the kernel is much larger than the image.
        In float32 under any autocast: sigma needs it, and casting the kernel costs more than the
        product.
        """
        u, v = self.vectors()
        with no_autocast(self.weight):
            full = full_precision(x)
            y, products = as_matrix_product(full, self.weight, None, stride, padding, v)
        return y.to(x.dtype), (u * products).sum(dim=1)


class SpectralLinear(SpectralNorm, nn.Linear):
    """`nn.Linear` whose weight is divided by its largest singular value."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._make_vectors()

    def forward(self, x: Tensor) -> Tensor:
        """N C to N C'."""
        y = self.divided(F.linear(x, self.weight), self.sigma())
        return y if self.bias is None else y + self.bias.to(y.dtype)


def pad_layer(name: PaddingName, pixels: int) -> nn.Module:
    """The padding layer of that name."""
    layers = {"reflect": ReflectionPad, "replicate": nn.ReplicationPad2d}
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
