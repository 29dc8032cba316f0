"""3x3 convolutions with a quarter of the multiplications, F(4x4, 3x3).

Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", §4.3: a tile of 6 x 6
pixels and a kernel are transformed, multiplied element by element, and transformed back to 4 x 4
outputs. The multiplications over channels are one matrix product for each of the 36 elements. In
exact numbers this is the convolution; in float32 it is off by some 2e-6 of the result, ten times
more than the plain form, which is why half precision never takes it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Matrix = Sequence[Sequence[float]]

_MANY_CHANNELS = 128  # below, the transforms cost what the products save
_MANY_TILES = 32

# Lavin and Gray 2016, Eq. 19 to 21, in their names.
_B_T: Matrix = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_G: Matrix = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
_A_T: Matrix = [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
]


def _both_ways(matrix: Matrix) -> Tensor:
    """M as a matrix on flattened tiles: what M x M' does."""
    one_way = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one_way, one_way).float()


_TO_TILES, _TO_KERNEL, _TO_OUTPUT = _both_ways(_B_T), _both_ways(_G), _both_ways(_A_T)


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether `convolve` is faster than the plain form, for an unpadded or padded x N C H W."""
    plain = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    tiles = len(x) * (x.shape[2] // 4) * (x.shape[3] // 4)
    many = min(weight.shape[:2]) >= _MANY_CHANNELS and tiles >= _MANY_TILES
    return plain and many


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """`F.conv2d(x, weight)`, N C H W and O C 3 3 in float32 to N O H-2 W-2."""
    height, width = x.shape[2] - 2, x.shape[3] - 2
    below, right = -height % 4, -width % 4
    if below or right:
        x = F.pad(x, (0, right, 0, below))
    return _Convolution.apply(x, weight)[:, :, :height, :width]


class _Convolution(torch.autograd.Function):
    """For sides that are whole tiles. The transforms are made anew on the way back, not kept."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        n, outputs = len(x), len(weight)
        rows, columns = (x.shape[2] - 2) // 4, (x.shape[3] - 2) // 4
        products = torch.bmm(_kernels(weight), _tiles(x))
        y = (_TO_OUTPUT @ products.view(36, -1)).view(4, 4, outputs, n, rows, columns)
        return y.permute(3, 2, 4, 0, 5, 1).reshape(n, outputs, 4 * rows, 4 * columns)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        n, outputs, height, width = grad.shape
        rows, columns = height // 4, width // 4
        by_tile = grad.reshape(n, outputs, rows, 4, columns, 4).permute(3, 5, 1, 0, 2, 4)
        products = (_TO_OUTPUT.t() @ by_tile.reshape(16, -1)).view(36, outputs, -1)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            tiles = torch.bmm(_kernels(weight).transpose(1, 2), products)
            grad_x = _joined(_TO_TILES.t() @ tiles.view(36, -1), n, rows, columns)
        if ctx.needs_input_grad[1]:
            kernels = torch.bmm(products, _tiles(x).transpose(1, 2))
            flat = _TO_KERNEL.t() @ kernels.view(36, -1)
            grad_weight = flat.view(9, outputs, -1).permute(1, 2, 0).reshape(weight.shape)
        return grad_x, grad_weight


def _kernels(weight: Tensor) -> Tensor:
    """G g G' for every kernel: 36 O C."""
    outputs, channels = weight.shape[:2]
    return (_TO_KERNEL @ weight.reshape(outputs * channels, 9).t()).view(36, outputs, channels)


def _tiles(x: Tensor) -> Tensor:
    """B' d B for every tile d of 6 x 6 pixels, two of which two tiles share: 36 C N*tiles."""
    tiles = x.unfold(2, 6, 4).unfold(3, 6, 4).permute(4, 5, 1, 0, 2, 3)
    return (_TO_TILES @ tiles.reshape(36, -1)).view(36, x.shape[1], -1)


def _joined(tiles: Tensor, n: int, rows: int, columns: int) -> Tensor:
    """Tiles 36 x C*N*tiles put where they came from and added up: N C H W."""
    by_image = tiles.view(36, -1, n, rows * columns).permute(2, 1, 0, 3)
    size = 4 * rows + 2, 4 * columns + 2
    return F.fold(by_image.reshape(n, -1, rows * columns), size, 6, stride=4)
