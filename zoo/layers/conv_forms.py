"""Convolutions in the form that costs least; the values are those of the plain ones.

Libraries pick their kernels for many positions and many channels. Two places of these networks have
few of one of them, and two compute more products than needed:

- The deep layers of discriminators and U-Nets have kernels of millions of numbers and images of a
  few pixels. On a CPU, re-ordering the kernel then costs more than using it: as a matrix product
  such a layer is three to six times faster (`as_matrix_product`, `ConvTranspose2d`).
- The last layer has three output channels and a 7x7 kernel. With the columns of the kernel as more
  output channels, whose results are shifted and added, vector registers are used (`_by_columns`).
- A 3x3 convolution of many channels can do with a quarter of the multiplications, on tiles of 4 x 4
  outputs (`zoo.layers.winograd`).
- After repeating every pixel, neighbouring products of a 3x3 convolution share their pixel. Adding
  up the weights instead leaves four 2x2 convolutions of the small image (`UpConv2d`).
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers import winograd
from zoo.layers.precision import full_precision

_FEW_POSITIONS = 64  # in all images of the batch
_LARGE_KERNEL = 2**19  # elements
_FEW_CHANNELS = 4


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """`F.conv2d` for square kernels, in the form that suits the sizes.

    Args:
        x: N C H W.
        weight: O C k k.
        bias: O, or None.
        stride: of both directions.
        padding: zeros on every side.

    Returns:
        N O h w.
    """
    if is_matrix_product(x, weight, stride, padding):
        return as_matrix_product(x, weight, bias, stride, padding)[0]
    size, on_cpu = weight.shape[2], x.device.type == "cpu"
    if on_cpu and size == 3 and stride == 1 and winograd.pays(x, weight):
        y = winograd.convolve(F.pad(x, (padding,) * 4), weight)
        return y if bias is None else y + bias[:, None, None]
    few = weight.shape[0] <= _FEW_CHANNELS and size >= 5
    if on_cpu and few and stride == 1 and padding == 0:
        return _by_columns(x, weight, bias)
    return F.conv2d(x, weight, bias, stride, padding)


def is_matrix_product(x: Tensor, weight: Tensor, stride: int, padding: int) -> bool:
    """Whether `as_matrix_product` is the form for these sizes."""
    height, width = (_positions(n, weight.shape[2], stride, padding) for n in x.shape[2:])
    few = len(x) * height * width <= _FEW_POSITIONS
    return x.device.type == "cpu" and few and weight.numel() >= _LARGE_KERNEL


def _positions(side: int, size: int, stride: int, padding: int) -> int:
    return (side + 2 * padding - size) // stride + 1


def as_matrix_product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    more: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Every patch of the image as a row, times the kernel as a matrix.

    Args:
        x: N C H W.
        weight: O C k k.
        bias: O, or None.
        stride: of both directions.
        padding: zeros on every side.
        more: further rows, R C*k*k.

    Returns:
        N O h w, and what came of the further rows, R O.
    """
    outputs, _, size, _ = weight.shape
    n, height, width = len(x), *(_positions(side, size, stride, padding) for side in x.shape[2:])
    rows = _Patches.apply(x, size, stride, padding)
    if more is not None:
        rows = torch.cat([rows, more.to(rows.dtype)])
    y = F.linear(rows, weight.view(outputs, -1), bias)
    y, rest = y.split([n * height * width, len(y) - n * height * width])
    return y.view(n, height, width, outputs).permute(0, 3, 1, 2).contiguous(), rest


class _Patches(torch.autograd.Function):
    """Every patch of N C H W as a row, in the order of positions.

    The gradient of the two views is a copy of all that they overlap in; folding adds it at once.
    """

    @staticmethod
    def forward(ctx, x, size, stride, padding):
        patches = F.pad(x, (padding,) * 4).unfold(2, size, stride).unfold(3, size, stride)
        n, _, height, width = patches.shape[:4]
        ctx.settings = x.shape[2:], height * width, size, stride, padding
        return patches.permute(0, 2, 3, 1, 4, 5).reshape(n * height * width, -1)

    @staticmethod
    def backward(ctx, grad):
        sides, positions, size, stride, padding = ctx.settings
        columns = grad.view(-1, positions, grad.shape[1]).transpose(1, 2)
        return F.fold(columns, sides, size, padding=padding, stride=stride), None, None, None


def _by_columns(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One convolution for each column of the kernel, all at once; then shifted and added."""
    outputs, channels, size, _ = weight.shape
    columns = weight.permute(3, 0, 1, 2).reshape(size * outputs, channels, size, 1)
    y = _Shifted.apply(F.conv2d(x, columns), size)
    return y if bias is None else y + bias[:, None, None]


class _Shifted(torch.autograd.Function):
    """N k*O H W+k-1 to N O H W: the sum of k parts, each one further to the right."""

    @staticmethod
    def forward(ctx, parts, size):
        ctx.size = size
        width = parts.shape[3] - size + 1
        parts = [p[..., i : i + width] for i, p in enumerate(parts.chunk(size, dim=1))]
        return torch.stack(parts).sum(0)

    @staticmethod
    def backward(ctx, grad):
        n, outputs, height, width = grad.shape
        size = ctx.size
        parts = grad.new_zeros(n, size, outputs, height, width + size - 1)
        for i in range(size):
            parts[:, i, :, :, i : i + width] = grad
        return parts.flatten(1, 2), None


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` in the form that suits the sizes."""

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N O h w."""
        return conv2d(x, self.weight, self.bias, self.stride[0], int(self.padding[0]))


class UpConv2d(nn.Conv2d):
    """Every pixel twice in both directions, reflected by one pixel, a 3x3 convolution.

    Output pixel (2i + p, 2j + q) sees at most two by two pixels of the input, with the weights
    added up that fall on the same one. Reflecting an image of doubled pixels repeats its border,
    and so does repeating the border of the small image.

    Args:
        inputs: channels of the image.
        outputs: channels of the result.
        bias: whether there is one.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool):
        super().__init__(inputs, outputs, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' 2H 2W."""
        n, _, height, width = x.shape
        kernels = _merged(_merged(self.weight, 3), 3)  # 2 2 C' C 2 2, the phase of the rows first
        parts = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernels.flatten(0, 2))
        y = _Interleaved.apply(parts.view(n, 2, 2, self.out_channels, height + 1, width + 1))
        return y if self.bias is None else y + self.bias[:, None, None]


class _Interleaved(torch.autograd.Function):
    """Four images N 2 2 C H+1 W+1, one for each phase, to N C 2H 2W; each lacks one border row."""

    @staticmethod
    def forward(ctx, parts):
        n, _, _, channels, height, width = parts.shape
        y = parts.new_empty(n, channels, 2 * height - 2, 2 * width - 2)
        for p, q in itertools.product((0, 1), repeat=2):
            y[:, :, p::2, q::2] = parts[:, p, q, :, p : p + height - 1, q : q + width - 1]
        return y

    @staticmethod
    def backward(ctx, grad):
        n, channels, height, width = grad.shape
        height, width = height // 2, width // 2
        parts = grad.new_zeros(n, 2, 2, channels, height + 1, width + 1)
        for p, q in itertools.product((0, 1), repeat=2):
            parts[:, p, q, :, p : p + height, q : q + width] = grad[:, :, p::2, q::2]
        return parts


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` in the form that suits the sizes.

    As in `conv2d`: a large kernel over few positions is cheaper as a matrix product. Its rows are
    what every position adds to the patch around it.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """N C H W to N O h w."""
        n, channels, height, width = x.shape
        few = n * height * width <= _FEW_POSITIONS and self.weight.numel() >= _LARGE_KERNEL
        if x.device.type != "cpu" or not few or output_size is not None:
            return super().forward(x, output_size)
        size, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        sides = tuple((s - 1) * stride - 2 * padding + size for s in (height, width))
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels) @ self.weight.view(channels, -1)
        columns = full_precision(rows).view(n, height * width, -1).transpose(1, 2)
        y = F.fold(columns, sides, size, padding=padding, stride=stride).to(rows.dtype)
        return y if self.bias is None else y + self.bias[:, None, None]


def _merged(weight: Tensor, dim: int) -> Tensor:
    """Three weights along `dim` as two, by phase: the pixels before and at, or at and after."""
    one, two, three = weight.unbind(dim)
    even = torch.stack([one, two + three], dim)
    odd = torch.stack([one + two, three], dim)
    return torch.stack([even, odd])
