"""`dinov2-vitl14` and smaller ones: class tokens of DINOv2, for the Fréchet distance FD-DINOv2.

Papers: Oquab et al. 2023, "DINOv2: Learning Robust Visual Features without Supervision"; Stein et
al. 2023, "Exposing Flaws of Generative Model Evaluation Metrics and Their Unfair Treatment of
Diffusion Models", who found distances on these features closest to people's judgement. As in their
code (dgm-eval): images to 224 px by Pillow's bicubic filter, rounded, not cropped; ImageNet's
colours; the class token after the last normalisation.

The weights are those of Meta's file, whose position embedding is for 37 x 37 patches. It is brought
to 16 x 16 as Meta's code does it, not as timm would: bicubic, not antialiased, and sampled as if
for 16.1 patches, the 0.1 once against rounding and kept since.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.features.base import FeatureExtractor
from eval.features.images import Images
from eval.features.vit import Network, State, Vit, resize_bicubic

SIDE = 224
CHUNK = 16
NETWORKS = {
    f"dinov2-vit{letter}14": Network(
        architecture=f"vit_{size}_patch14_dinov2",
        file=f"dinov2_vit{letter}14_pretrain.pth",
        side=SIDE,
        options={"num_classes": 0},
    )
    for letter, size in (("l", "large"), ("b", "base"), ("s", "small"))
}
_OFFSET = 0.1  # patches


class Dinov2(FeatureExtractor):
    """An extractor of this file.

    Only the large network with the published weights gives numbers of the literature. With other
    weights the name carries a part of their hash.

    Args:
        name: one of NETWORKS.
        trust: take a file whose hash is not the published one.
        device: where to run; None is a GPU if there is one.

    Raises:
        MissingWeights: the file is not on this machine.
        UntrustedWeights: it is, with another hash and `trust` off, or it holds another network.
    """

    resizer = f"Pillow bicubic, rounded, to {SIDE} px"

    def __init__(
        self,
        name: str = "dinov2-vitl14",
        *,
        trust: bool = False,
        device: str | torch.device | None = None,
    ):
        self._vit = Vit(NETWORKS[name], _adapted, trust=trust, device=device)
        self.name = self._vit.named(name)
        self.dim = self._vit.dim
        self.comparable = self._vit.found.published and name == "dinov2-vitl14"
        self.weights_sha256 = self._vit.found.sha256

    def __call__(self, images: Images) -> np.ndarray:
        """Features (n, dim), float32."""
        return self._vit(images, resize_bicubic, CHUNK)


def _adapted(published: State, net: Any) -> State:
    """The published tensors for timm's network at another number of patches."""
    state = {name: tensor for name, tensor in published.items() if name != "mask_token"}
    side = net.patch_embed.grid_size[0]
    state["pos_embed"] = resized_positions(state["pos_embed"].float(), side)
    return state


def resized_positions(embedding: Tensor, side: int) -> Tensor:
    """A position embedding for side x side patches, as Meta's code makes it.

    Args:
        embedding: 1 (1 + n²) C, the class token's first.
        side: wanted patches along an edge.

    Returns:
        1 (1 + side²) C.
    """
    old = round((embedding.shape[1] - 1) ** 0.5)
    if old == side:
        return embedding
    scale = (side + _OFFSET) / old
    patches = embedding[:, 1:].unflatten(1, (old, old)).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([embedding[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)
