"""Networks whose dropout and batch statistics stay as in training when they translate."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

NOISE_SEED = 0


@contextmanager
def as_in_training(network: nn.Module) -> Iterator[None]:
    """Inside, dropout drops and batch norm uses the batch; running statistics do not move."""
    layers = [m for m in network.modules() if isinstance(m, nn.Dropout | nn.BatchNorm2d)]
    before = [layer.training for layer in layers]
    for layer in layers:
        layer.training = True
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, training in zip(layers, before, strict=True):
            layer.training = training
            if isinstance(layer, nn.BatchNorm2d):
                layer.track_running_stats = True


@contextmanager
def fixed_noise(like: Tensor) -> Iterator[None]:
    """Inside, random numbers begin at the same seed every time; outside, nothing is changed."""
    devices = [like.device] if like.is_cuda else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(NOISE_SEED)
        yield
