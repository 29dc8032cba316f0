"""Between images and vectors."""

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.init import init_weights
from zoo.layers.precision import full_precision
from zoo.protocols import Shape

COARSEST = 4  # pixels of the shorter side of the smallest feature maps


def doublings(owner: str, height: int, width: int) -> int:
    """How often the smallest feature maps are doubled in size to reach the image's.

    Raises:
        UserError: a side is below 16 pixels or cannot be halved as often.
    """
    check_size(owner, height, width, least=4 * COARSEST)
    count = (min(height, width) // COARSEST).bit_length() - 1
    check_size(owner, height, width, multiple=2**count)
    return count


class LatentEncoder(nn.Module):
    """Images to vectors: convolutions that halve the size, then one over what is left.

    Args:
        shape: of the images.
        width: filters of the first layer, doubled by every further one up to eight times as many.
        latent_size: length of the vectors.
    """

    def __init__(self, shape: Shape, width: int, latent_size: int):
        super().__init__()
        self.shape = shape
        count = doublings("encoder", shape.height, shape.width)
        channels = [shape.channels, *(width * min(2**n, 8) for n in range(count))]
        layers: list[nn.Module] = []
        for n in range(count):
            layers += [nn.Conv2d(channels[n], channels[n + 1], 4, stride=2, padding=1, bias=n == 0)]
            layers += [nn.BatchNorm2d(channels[n + 1])] if n else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        left = shape.height >> count, shape.width >> count
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], latent_size, left))
        init_weights(self, "normal")

    def forward(self, x: Tensor) -> Tensor:
        """N C H W in [-1, 1] to N latent_size, float32."""
        return full_precision(self.layers(x).flatten(1))


def latent_distance(z: Tensor, target: Tensor) -> Tensor:
    """Mean of the squared differences of two batches of vectors, N L; a scalar."""
    return F.mse_loss(full_precision(z), full_precision(target))
