"""`clip-vitl14-336`: image embeddings of CLIP, for the distance CMMD.

Papers: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", ViT-L/14 at 336 px; Jayasumana et al. 2024, "Rethinking FID: Towards a Better
Evaluation Metric for Image Generation". As in the code of CMMD: the largest square in the middle,
to 336 px by Pillow's bicubic filter, rounded; CLIP's colours; the projected class token at unit
length.

The weights are OpenAI's file, a TorchScript archive, of which the image tower is read.
"""

from typing import Any

import numpy as np
import torch

from eval.features.base import FeatureExtractor
from eval.features.images import Images
from eval.features.vit import Network, State, Vit, resize_bicubic

NAME = "clip-vitl14-336"
NETWORKS = {
    NAME: Network(
        architecture="vit_large_patch14_clip_quickgelu_336",
        file="ViT-L-14-336px.pt",
        side=336,
        options={"num_classes": 768},  # of the projection
    )
}
CHUNK = 8
COLOURS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Clip(FeatureExtractor):
    """The extractor `clip-vitl14-336`.

    With other than the published weights the name carries a part of their hash, and the distances
    are not comparable.

    Args:
        trust: take a file whose hash is not the published one. It is code: TorchScript.
        device: where to run; None is a GPU if there is one.

    Raises:
        MissingWeights: the file is not on this machine.
        UntrustedWeights: it is, with another hash and `trust` off, or it holds another network.
    """

    def __init__(self, *, trust: bool = False, device: str | torch.device | None = None):
        self._vit = Vit(NETWORKS[NAME], _adapted, colours=COLOURS, trust=trust, device=device)
        self.name = self._vit.named(NAME)
        self.dim = self._vit.dim
        self.comparable = self._vit.found.published
        self.weights_sha256 = self._vit.found.sha256
        self.resizer = f"central square, Pillow bicubic, rounded, to {self._vit.side} px"

    def __call__(self, images: Images) -> np.ndarray:
        """Features (n, dim) of length 1, float32."""
        features = self._vit(images, _central_square, CHUNK)
        return features / np.linalg.norm(features, axis=1, keepdims=True)


def _central_square(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    return resize_bicubic(image[top : top + edge, left : left + edge], side)


def _adapted(published: State, net: Any) -> State:
    """The image tower by timm's names."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    return checkpoint_filter_fn(published, net)
