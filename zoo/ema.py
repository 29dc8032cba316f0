"""Exponential average of the weights that translate."""

import torch
from torch import Tensor, nn


class Ema:
    """Keeps an average of every parameter of some modules; buffers are not averaged.

    Args:
        modules: what `Method.translators` returns.
        halflife_images: images after which a weight counts half.
    """

    def __init__(self, modules: list[nn.Module], halflife_images: int):
        self.halflife_images = halflife_images
        self._parameters = list(dict.fromkeys(p for net in modules for p in net.parameters()))
        self.averages = [p.detach().clone() for p in self._parameters]

    def restart(self) -> None:
        """Begin anew with the present weights."""
        self.load([p.detach() for p in self._parameters])

    @torch.no_grad()
    def move(self, images: int) -> None:
        """Move towards the present weights by `images` more images.

        average += (1 - 0.5^(images / halflife_images)) (weight - average)

        Args:
            images: images seen since the last call.
        """
        share = 1 - 0.5 ** (images / self.halflife_images)
        difference = torch._foreach_sub([p.detach() for p in self._parameters], self.averages)
        torch._foreach_add_(self.averages, difference, alpha=share)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averages with the present weights; a second call undoes the first."""
        for parameter, average in zip(self._parameters, self.averages, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

    def state(self) -> list[Tensor]:
        """The averages, in the order of the modules' parameters, each once."""
        return self.averages

    @torch.no_grad()
    def load(self, averages: list[Tensor]) -> None:
        """Take back what `state` returned."""
        for mine, theirs in zip(self.averages, averages, strict=True):
            mine.copy_(theirs)
