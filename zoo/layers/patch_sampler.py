"""Features of single patches for contrastive losses (Park et al. 2020, CUT, §3)."""

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.layers.init import InitName, init_weights
from zoo.layers.precision import full_precision


class PatchSampler(nn.Module):
    """A network of two layers for each feature map, which embeds chosen positions on a sphere.

    The published code makes these networks on the first batch; here they exist from the start, so
    that they are optimised, averaged and saved like any other.

    Args:
        channels: of each feature map.
        width: of both layers, published 256.
        init: of the weights.
    """

    def __init__(self, channels: Sequence[int], width: int, init: InitName = "xavier"):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(c, width), nn.ReLU(inplace=True), nn.Linear(width, width))
            for c in channels
        )
        init_weights(self, init)

    def forward(
        self, features: Sequence[Tensor], positions: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Unit vectors at the positions.

        Args:
            features: one map N C H W per head.
            positions: one row of P numbers in [0, H W) per head, the same for all images.

        Returns:
            One tensor N P width per head, float32 (float64 where the features are).
        """
        sampled = []
        for head, maps, where in zip(self.heads, features, positions, strict=True):
            vectors = full_precision(head(maps.flatten(2)[:, :, where].transpose(1, 2)))
            sampled.append(vectors / (vectors.norm(dim=2, keepdim=True) + 1e-7))
        return tuple(sampled)
