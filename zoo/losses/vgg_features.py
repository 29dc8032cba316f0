"""A distance in the features of VGG-16. Johnson et al. 2016, as in CycleGAN's comparison.

Papers: Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution",
§3.2; Zhu et al. 2017, §5.1.1, measures SimGAN's |R(x) - x| in relu4_2 of VGG-16. The network is
Simonyan and Zisserman 2015, configuration D, with torchvision's weights for ImageNet.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.downloads import UntrustedWeights, find_weights
from zoo.layers.precision import full_precision
from zoo.registry import LOSSES

FILE = "vgg16-397923af.pth"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for colours in [0, 1]

# Filters of the convolutions up to conv4_2, with a max pool after the second, fourth and seventh.
FILTERS = (64, 64, 128, 128, 256, 256, 256, 512, 512)
POOLED_AFTER = (1, 3, 6)


@LOSSES.register("vgg_features")
class VggFeaturesLoss(nn.Module):
    """|f(x) - f(y)|, mean over all elements; f is relu4_2 of a fixed VGG-16.

    The network is no part of the loss's state: `prepare` or the first use
    reads it, so that checkpoints do not carry it and translating does not need it.
    """

    offers = frozenset({"content"})

    @dataclass(kw_only=True)
    class Config:
        """Which network."""

        backbone: Annotated[
            Literal["vgg16", "random-vgg16"],
            "vgg16: ImageNet's weights; random-vgg16: an untrained stand-in, not what papers use",
        ] = "vgg16"

    def __init__(self, config: Config):
        super().__init__()
        self.backbone = config.backbone
        self._network: list[nn.Module] = []  # a list, so that it is no submodule

    def prepare(self) -> None:
        """Read the network.

        Raises:
            MissingWeights: its file is not on this machine.
            UntrustedWeights: it is another file, or holds another network.
        """
        if not self._network:
            network = random_vgg() if self.backbone == "random-vgg16" else imagenet_vgg()
            self._network.append(network.eval().requires_grad_(False))

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches N C H W in [-1, 1], grey or colour, sides of 8 at least; a scalar."""
        self.prepare()
        return F.l1_loss(self._features(image), self._features(target))

    def _features(self, x: Tensor) -> Tensor:
        x = full_precision(x)
        network = self._network[0].to(x)
        mean, std = (torch.tensor(values).to(x)[:, None, None] for values in (MEAN, STD))
        with torch.autocast(x.device.type, enabled=False):
            return network(((x + 1) / 2 - mean) / std)  # one grey channel becomes three


def vgg_layers() -> nn.Sequential:
    """VGG-16 up to relu4_2, numbered as torchvision's `features`."""
    layers: list[nn.Module] = []
    channels = 3
    for n, filters in enumerate(FILTERS):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
        if n in POOLED_AFTER:
            layers += [nn.MaxPool2d(2)]
        channels = filters
    return nn.Sequential(*layers)


def imagenet_vgg() -> nn.Sequential:
    """The network with torchvision's weights, from the folder of weights."""
    found = find_weights(FILE)
    network = vgg_layers()
    try:
        published = torch.load(found.path, map_location="cpu", weights_only=True)
        network.load_state_dict({key: published[f"features.{key}"] for key in network.state_dict()})
    except Exception as error:  # a pickle of something else fails in many ways
        raise UntrustedWeights(f"{found.path} does not hold VGG-16: {error}") from error
    return network


def random_vgg() -> nn.Sequential:
    """The network with the same random weights every time (He et al. 2015), biases 0."""
    network = vgg_layers()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Conv2d):
                spread = (2 / layer.weight[0].numel()) ** 0.5
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * spread)
                layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
    return network
