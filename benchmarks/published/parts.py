"""What several published steps have in common: results, losses, the image pool."""

import random
from types import ModuleType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Result(NamedTuple):
    """What an iteration computed, by the reference's names."""

    losses: dict[str, Tensor]  # weights included where the reference includes them
    outputs: dict[str, Tensor]


def gan_loss(mode: str, logits: Tensor, real: bool) -> Tensor:
    """Distance of logits to the label 1 (real) or 0: `lsgan`, squared, or `vanilla`, entropy."""
    label = torch.full_like(logits, float(real))
    if mode == "lsgan":
        return F.mse_loss(logits, label)
    return F.binary_cross_entropy_with_logits(logits, label)


def set_requires_grad(network: nn.Module, wanted: bool) -> None:
    """Freeze or unfreeze every parameter."""
    for parameter in network.parameters():
        parameter.requires_grad = wanted


class ImagePool:
    """Fakes seen before: half of the time one of them instead of the new image, one by one."""

    def __init__(self, size: int, rng: random.Random | ModuleType = random):
        self.size, self.rng = size, rng
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Images N C H W for a discriminator, detached."""
        if self.size == 0:
            return images.detach()
        chosen = []
        for image in images.detach():
            image = image.unsqueeze(0)
            if len(self.images) < self.size:
                self.images.append(image)
                chosen.append(image)
            elif self.rng.uniform(0, 1) > 0.5:
                index = self.rng.randint(0, self.size - 1)
                chosen.append(self.images[index].clone())
                self.images[index] = image
            else:
                chosen.append(image)
        return torch.cat(chosen)
