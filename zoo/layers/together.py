"""Several inputs of a network as one batch, where that changes no value."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.layers.conv import SpectralNorm


def together(network: nn.Module, *inputs: Tensor | None) -> list[Any]:
    """What `network` says about each input, N C H W of one shape; None about None.

    One forward of all of them reads the weights once and keeps the processor busier than forwards
    of single images. It is taken where the network declares `per_image`: its answer about one
    image does not depend on the others of the batch. Spectrally normalised layers iterate once for
    every input, as in forwards one after the other.
    """
    wanted = [x for x in inputs if x is not None]
    if len(wanted) > 1 and getattr(network, "per_image", False):
        with _parts(network, len(wanted)):
            said = iter(split(network(torch.cat(wanted)), len(wanted)))
    else:
        said = iter([network(x) for x in wanted])
    return [None if x is None else next(said) for x in inputs]


@contextmanager
def _parts(network: nn.Module, count: int) -> Iterator[None]:
    layers = [layer for layer in network.modules() if isinstance(layer, SpectralNorm)]
    for layer in layers:
        layer.parts = count
    try:
        yield
    finally:
        for layer in layers:
            layer.parts = 1


def split(said: Any, count: int) -> list[Any]:
    """A tensor, or tuples of such, cut along the batch into `count` of the same kind."""
    if said is None:
        return [None] * count
    if isinstance(said, Tensor):
        return list(said.chunk(count))
    parts = zip(*(split(item, count) for item in said), strict=True)
    kind = type(said)
    made = [kind(*part) if hasattr(kind, "_fields") else kind(part) for part in parts]
    return made or [said] * count
