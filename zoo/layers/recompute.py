"""Activations computed again in the backward pass instead of kept until then.

Paper: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". A network runs its parts
through `recomputed`; inside `recomputing` of these only the inputs are kept, and backward runs the
part once more for what it needs. So a step holds the activations of one part at a time, for about a
third more time. Values do not change, not even in the last bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.layers.batch_values import BatchValues
from zoo.layers.conv import SpectralNorm

_recomputing = False  # in every thread: on a GPU, backward runs in one of its own


@contextmanager
def recomputing(wanted: bool = True) -> Iterator[None]:
    """Inside, networks keep the inputs of their parts only; backward belongs inside too."""
    global _recomputing
    before, _recomputing = _recomputing, wanted
    try:
        yield
    finally:
        _recomputing = before


def recomputed(part: nn.Module, *inputs: Tensor) -> Any:
    """What `part` makes of `inputs`; inside `recomputing` its activations are not kept.

    The second forward is like the first: with the same buffers (so the same spectral vectors, and
    running statistics move once), random numbers, autocast, and parameters frozen or not.

    Args:
        part: its state is in parameters and buffers; its first layer does not work in place.
        inputs: not changed in place until backward, as the part's weights.
    """
    if not (_recomputing and torch.is_grad_enabled()):
        return part(*inputs)
    then = _Circumstances(part)
    return checkpoint(part, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), then))


class _Circumstances:
    """What a forward depends on besides inputs and random numbers, as it is when this is made.

    As a context, which may be entered several times: inside, it is like that again.
    """

    def __init__(self, part: nn.Module):
        self.part = part
        self.learning = [(parameter, parameter.requires_grad) for parameter in part.parameters()]
        self.buffers = [(buffer, buffer.clone()) for buffer in part.buffers()]
        layers = (layer for layer in part.modules() if isinstance(layer, SpectralNorm))
        self.parts = [(layer, layer.parts) for layer in layers]
        self.batch_values = BatchValues.active
        self.asked = self.batch_values.asked if self.batch_values else 0

    def __enter__(self) -> None:
        self.now = _Circumstances(self.part)
        self._restore()

    def __exit__(self, *_: object) -> None:
        self.now._restore()

    @torch.no_grad()
    def _restore(self) -> None:
        for parameter, learns in self.learning:
            parameter.requires_grad_(learns)
        for buffer, value in self.buffers:
            buffer.copy_(value)
        for layer, parts in self.parts:
            layer.parts = parts
        if self.batch_values:
            self.batch_values.asked = self.asked
