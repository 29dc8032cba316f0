"""LPIPS between images (Zhang et al. 2018), through the authors' package.

The package holds the linear heads (version 0.1); the ImageNet network below them is read from Zoo's
folder of weights and never downloaded.
"""

import warnings
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import torch

from eval.checks import MetricError, checked_pairs
from eval.features.images import Images
from zoo.downloads import UntrustedWeights, find_weights, require_weights
from zoo.images import to_tensor
from zoo.registry import UserError, nearest

BACKBONES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
SMALLEST_SIDE = 32
CHUNK = 16


class Perceptual:
    """LPIPS with one backbone.

    Args:
        net: "alex", which most papers report, "vgg" or "squeeze".
        trust: take a backbone file whose hash is not the published one.

    Attributes:
        name: `lpips-alex-v0.1` or the like, with a part of the hash if it is not the published one.
        comparable: whether the backbone is the published one.

    Raises:
        UserError: no such backbone.
        MissingWeights: its file is not on this machine.
        UntrustedWeights: it is, with another hash and `trust` off, or it holds another network.
    """

    def __init__(self, net: str = "alex", *, trust: bool = False):
        if net not in BACKBONES:
            raise UserError(
                f"no LPIPS backbone is called {net!r}.{nearest(net, BACKBONES)} "
                f"Known: {', '.join(BACKBONES)}"
            )
        found = find_weights(BACKBONES[net], trust=trust)
        self.comparable = found.published
        self.name = f"lpips-{net}-v0.1" + ("" if found.published else f"+{found.sha256[:12]}")
        self.weights_sha256 = found.sha256
        try:
            published = torch.load(found.path, map_location="cpu", weights_only=True)
            self._net = _lpips(net, published)
        except Exception as error:  # a pickle of something else fails in many ways
            message = f"{found.path} does not hold the network {net!r}: {error}"
            raise UntrustedWeights(message) from error

    def __call__(self, images: Images, truths: Images) -> np.ndarray:
        """Distance of each image from its truth.

        Args:
            images: uint8 N H W 3, a sequence of uint8 H W 3 of one size, or a float tensor N 3 H W
                in [-1, 1]; sides of at least 32 px.
            truths: as many, of the same size.

        Returns:
            float32 (n,): 0 for equal images.

        Raises:
            MetricError: for different numbers or sizes, or images too small.
        """
        pairs = checked_pairs(images, truths)
        values = []
        while chunk := list(islice(pairs, CHUNK)):
            if min(min(x.shape[:2]) for x, _ in chunk) < SMALLEST_SIDE:
                raise MetricError(f"LPIPS needs sides of {SMALLEST_SIDE} px at least")
            if len({x.shape for x, _ in chunk}) > 1:
                raise MetricError("LPIPS needs images of one size")
            x, y = (to_tensor(np.stack(side)) for side in zip(*chunk, strict=True))
            with torch.inference_mode():
                values.append(self._net(x, y).flatten())
        return torch.cat(values).numpy()

    def record(self) -> dict[str, Any]:
        """What a score has to say about the network: fields of `eval.scores.Score`."""
        return {
            "extractor": self.name,
            "comparable": self.comparable,
            "extractor_sha256": self.weights_sha256,
        }


def perceptual(net: str, *, trust: bool = False) -> Perceptual:
    """The `Perceptual` of these arguments, loaded once for all metrics that use it."""
    return _kept(net, trust, require_weights(BACKBONES[net]))


@lru_cache(maxsize=2)
def _kept(net: str, trust: bool, file: Path) -> Perceptual:
    return Perceptual(net, trust=trust)


def _lpips(net: str, backbone: dict[str, torch.Tensor]) -> lpips.LPIPS:
    """The package's network with torchvision's weights in its backbone."""
    # The constructor fills networks with random numbers, and calls torchvision by old arguments.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    # lpips spreads torchvision's `features.N` over slices and keeps N.
    names = {name: f"features.{name.split('.', 1)[1]}" for name in model.net.state_dict()}
    model.net.load_state_dict({name: backbone[theirs] for name, theirs in names.items()})
    return model
