"""Are the edges of the output where those of the input are, whatever the colours?

For faces and scenes that keep their geometry when translated; a method that is to change shapes,
as U-GAT-IT enlarges eyes, must lower it.

An image is brought to 64 px on its shorter side. With ∇I_c the gradient of channel c by derivatives
of a Gaussian of σ px, and G a Gaussian of the same σ, the structure tensor (Di Zenzo 1986)

    J = G * Σ_c ∇I_c ∇I_cᵀ

has eigenvalues λ₁ ≥ λ₂ and a main direction θ across the edge. The edge at a pixel is the vector

    v = (λ₁ - λ₂)^¼ (cos 2θ, sin 2θ),

whose length is the square root of the edge's strength, so that faint edges count beside strong
ones, and which is the same for a dark and a bright line. The score of an image is the cosine of the
angle between the v of its source and its own, over all pixels, averaged over σ = 1 px and 2 px.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval.checks import MetricError, checked_pairs
from eval.metric import Column, Evaluated, Pictures, Value
from zoo.registry import METRICS

SIDE = 64
SCALES = (1.0, 2.0)  # σ in px
CHUNK = 32  # images at once
REACH = 3  # a filter ends at so many σ
ROUNDING = 1e-9  # λ₁ - λ₂ below this is none; a step of 1/255 makes a thousand times as much


@METRICS.register("edges")
class Edges:
    """Agreement of edges of source and translation, colour ignored; 1 for the same edges."""

    needs: frozenset[str] = frozenset()
    columns = {
        "edges": Column("Edges kept", "higher", 1, 3),
        "edges_chance": Column("Edges, another image's", "lower", 1, 3),
    }
    on_untranslated = True
    default = "evaluation"

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config):
        self.config = config

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "edges", and "edges_chance": what outputs of other sources score."""
        kept, chance = edge_agreement(data.sources, data.images)
        if chance is None:
            none = Value.unavailable("one image has no other to be compared with")
            return {"edges": Value.of_images(kept), "edges_chance": none}
        details = {"chance": chance}
        return {
            "edges": Value.of_images(kept, details=details),
            "edges_chance": Value(value=chance),
        }


def edge_agreement(sources: Pictures, images: Pictures) -> tuple[np.ndarray, float | None]:
    """Agreement of edges of each image with its source, and of images with other sources.

    Args:
        sources: uint8 H W 3 each, all of one size.
        images: as many, of the same size.

    Returns:
        float64 (n,) in [-1, 1]: 1 for the same edges, and where neither image has any; 0 where only
        one has none. And the mean over all pairs of a source with another's image, None for one.

    Raises:
        MetricError: for no images, or different numbers or sizes.
    """
    pairs = checked_pairs(images, sources)
    kept, sums = [], []
    while chunk := list(islice(pairs, CHUNK)):
        if len({pair[0].shape for pair in chunk} | {sources[0].shape}) > 1:
            raise MetricError("edges are compared of images of one size")
        ours, theirs = (edge_vectors(side) for side in zip(*chunk, strict=True))
        kept.append((ours * theirs).sum(1))
        sums.append(torch.stack([ours.sum(0), theirs.sum(0)]))
    scores = torch.cat(kept).numpy()
    if (n := len(scores)) == 1:
        return scores, None
    ours, theirs = torch.stack(sums).sum(0)
    return scores, float((ours @ theirs - scores.sum()) / (n * (n - 1)))


def edge_vectors(images: Sequence[np.ndarray]) -> Tensor:
    """The edges of each image as one vector of length 1, v over all pixels and scales.

    Args:
        images: uint8 H W 3 each, of one size.

    Returns:
        float64 (n, numbers). The product of two vectors is their score. Of an image without edges
        only the last number of each scale is not 0, so that two such images agree.
    """
    x = torch.from_numpy(np.stack([_small(image) for image in images]))
    x = x.permute(0, 3, 1, 2).float() / 255
    return torch.cat([_edges(x, scale) for scale in SCALES], 1) / math.sqrt(len(SCALES))


def _small(image: np.ndarray) -> np.ndarray:
    """With SIDE px on the shorter side."""
    height, width = image.shape[:2]
    share = SIDE / min(height, width)
    if share == 1:
        return image
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _edges(x: Tensor, scale: float) -> Tensor:
    """The vectors of one scale, float64 (n, 2 H W + 1), from N C H W in [0, 1]."""
    (smooth_y, slope_y), (smooth_x, slope_x) = (_filters(n, scale) for n in x.shape[2:])
    along_x, along_y = smooth_y @ x @ slope_x.T, slope_y @ x @ smooth_x.T
    # (λ1 - λ2) cos 2θ and (λ1 - λ2) sin 2θ: both are linear in J, so G may follow
    cosine = smooth_y @ (along_x**2 - along_y**2).sum(1) @ smooth_x.T
    sine = smooth_y @ (2 * along_x * along_y).sum(1) @ smooth_x.T
    strength = torch.hypot(cosine, sine)
    strength = torch.where(strength < ROUNDING, torch.inf, strength)
    edges = torch.stack([cosine, sine], 1) * (strength**-0.75)[:, None]
    edges = edges.flatten(1).double()
    length = edges.norm(dim=1, keepdim=True)
    none = length == 0
    return torch.cat([edges / torch.where(none, 1, length), none.double()], 1)


@lru_cache(maxsize=8)
def _filters(n: int, scale: float) -> tuple[Tensor, Tensor]:
    """A Gaussian and its derivative along n pixels, each as a matrix (n, n); borders repeat."""
    reach = math.ceil(REACH * scale)
    offsets = np.arange(-reach, reach + 1)
    smooth = np.exp(-(offsets**2) / (2 * scale**2))
    smooth /= smooth.sum()
    slope = offsets * smooth / (offsets**2 * smooth).sum()  # 1 for an even slope of 1
    places = (np.arange(n)[:, None] + offsets).clip(0, n - 1)
    matrices = []
    for kernel in (smooth, slope):
        matrix = np.zeros((n, n))
        np.add.at(matrix, (np.arange(n)[:, None], places), kernel)
        matrices.append(torch.from_numpy(matrix).float())
    return matrices[0], matrices[1]
