"""Structure distance: whether a translation keeps the shapes of its source.

Paper: Tumanyan et al. 2022, "Splicing ViT Features for Semantic Appearance Transfer", Eq. 3-5; as a
score Parmar et al. 2024, "One-Step Image Translation with Text-to-Image Models" (DINO-struct).

Of each image the keys k_i of all tokens in the last layer (11, counted from 0) of DINO's ViT-B/8
(Caron et al. 2021) are taken, all heads in one vector; S_ij = cos(k_i, k_j) is its self-similarity
and the distance mean_ij (S_ij - S'_ij)². It is 0 for equal images, at most 4, symmetric, and blind
to any factor on a key. Nothing in the formula keeps colours out; that these keys tell shapes more
than appearance is what the authors found of the trained network.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.checks import checked_pairs
from eval.features.images import Images
from eval.features.own import resized
from eval.features.vit import Network, Vit, resize_bilinear
from eval.metric import Column, Evaluated, Value
from zoo.downloads import require_weights
from zoo.registry import METRICS

NAME = "dino-vitb8-keys11"
NETWORK = Network(
    architecture="vit_base_patch8_224",
    file="vit_base_patch8_224.dino.safetensors",
    side=224,
    options={"num_classes": 0},
)
CHUNK = 4


@METRICS.register("structure")
class Structure:
    """Distance of self-similarities of DINO's keys to those of the source (Tumanyan et al. 2022).

    Shown times 100, as papers do. 0 is no change at all, so less is better only among methods that
    reach the target as well.
    """

    needs: frozenset[str] = frozenset()
    columns = {"structure": Column("Structure × 100", "lower", 100, 2)}
    on_untranslated = False  # 0

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set: network and layer are those of the papers."""

    def __init__(self, config: Config):
        require_weights(NETWORK.file)

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "structure"."""
        vit = _network(data.trust, require_weights(NETWORK.file))
        values = structure_distances(vit, data.images, data.sources)
        fields = {
            "extractor": vit.named(NAME),
            "comparable": vit.found.published,
            "extractor_sha256": vit.found.sha256,
            "reference": "source",
            "num_real": len(data.sources),
            "resizer": resized(data, f"Pillow bilinear, rounded, to {vit.side} px"),
        }
        return {"structure": Value.of_images(values, **fields)}


@lru_cache(maxsize=1)
def _network(trust: bool, file: Path) -> Vit:
    return Vit(NETWORK, lambda published, net: published, trust=trust)


def structure_distances(vit: Vit, images: Images, sources: Images) -> np.ndarray:
    """The distance of each image from its source.

    Args:
        vit: a vision transformer of timm.
        images: as for `eval.features`.
        sources: as many, of the same sizes.

    Returns:
        float64 (n,).

    Raises:
        MetricError: for different numbers or sizes, or none.
    """
    pairs = list(checked_pairs(images, sources))
    values: list[float] = []
    sides = (_self_similarities(vit, [pair[side] for pair in pairs]) for side in (0, 1))
    for ours, theirs in zip(*sides, strict=True):
        values += (ours - theirs).square().mean(dim=(1, 2)).tolist()
    return np.array(values)


def _self_similarities(vit: Vit, images: Images) -> Iterator[Tensor]:
    """Batches N tokens tokens of cosines between keys of the last layer."""
    for batch in vit.batches(images, resize_bilinear, CHUNK):
        with torch.inference_mode():
            keys = F.normalize(last_keys(vit.net, batch), dim=2)
            alike = keys @ keys.transpose(1, 2)
        yield alike  # outside: a mode that is open at a yield holds for whoever goes on


def last_keys(net: Any, batch: Tensor) -> Tensor:
    """Keys of all tokens in the last block of timm's vision transformer, N tokens C."""
    kept: list[Tensor] = []
    qkv = net.blocks[-1].attn.qkv
    handle = qkv.register_forward_hook(lambda module, given, result: kept.append(result))
    try:
        net.forward_features(batch)
    finally:
        handle.remove()
    return kept[0].chunk(3, dim=2)[1]  # queries, keys, values
