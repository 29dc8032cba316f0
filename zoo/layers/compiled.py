"""Regions of networks that `torch.compile` may fuse, and the way back where it cannot.

A network declares by a method `regions()` which of its modules are compiled, each as one graph
without breaks. Blocks of one class and shape share a graph, so that a generator of nine residual
blocks costs the compilation of one. What declares nothing runs as it is written.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger("zoo.compile")


def regions_of(network: nn.Module) -> list[nn.Module]:
    """What the network's `regions()` declares; nothing where it has no such method."""
    declare = getattr(network, "regions", None)
    return [] if declare is None else list(declare())


def compile_regions(networks: Sequence[nn.Module]) -> int:
    """Compile the regions of networks, in place, at their first forward; returns how many.

    Sizes are taken as they come: each batch size and image size has a graph of its own. Names of
    parameters stay as they are. The first region that cannot be compiled puts all of them back and
    warns with the cause; as forward and backward are compiled before they run, nothing has changed
    by then, and the forward is computed as written.
    """
    torch.compiler.reset()  # graphs of an earlier training count towards torch's limit
    regions = dict.fromkeys(region for network in networks for region in regions_of(network))
    return len(_Compiled([*regions]).regions)


class _Compiled:
    """Regions that are compiled until one of them cannot be."""

    def __init__(self, regions: list[nn.Module]):
        # Importing these takes seconds, hence not before something is compiled.
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

        self.failures = (TorchDynamoException, FailOnRecompileLimitHit)
        self.regions = regions
        for region in regions:
            # In place as `nn.Module.compile` does it, but for what happens on a failure.
            compiled = torch.compile(
                region._call_impl, backend=_backend, fullgraph=True, dynamic=False
            )
            region._compiled_call_impl = partial(self._call, region, compiled)

    def _call(self, region: nn.Module, compiled: Callable, *args: Any, **kwargs: Any) -> Any:
        try:
            return compiled(*args, **kwargs)
        except self.failures as error:
            cause = _told(error)
        for other in self.regions:
            other._compiled_call_impl = None
        said = region(*args, **kwargs)  # its own errors are raised as they are
        log.warning(
            f"train.compile: {type(region).__name__} cannot be compiled, so training goes on "
            f"uncompiled: {cause}"
        )
        return said


@contextmanager
def uncompiled(*networks: nn.Module) -> Iterator[None]:
    """Networks run as written: where a graph is gone through backward twice, or a size is rare."""
    modules = dict.fromkeys(module for network in networks for module in network.modules())
    calls = {m: m._compiled_call_impl for m in modules if m._compiled_call_impl is not None}
    for module in calls:
        module._compiled_call_impl = None
    try:
        yield
    finally:
        for module, call in calls.items():
            module._compiled_call_impl = call


def _backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable:
    """Torch's own backend; dropout draws the numbers that it draws uncompiled."""
    from torch._dynamo import lookup_backend
    from torch._functorch import config as functorch
    from torch._inductor import config as inductor

    # The backward too is compiled now, so that a failure comes before anything has changed.
    now = {"force_non_lazy_backward_lowering": True}
    known = {name: value for name, value in now.items() if hasattr(functorch, name)}  # torch >= 2.9
    with inductor.patch(fallback_random=True), functorch.patch(known):
        return lookup_backend("inductor")(graph, inputs)


def _told(error: Exception) -> str:
    """The cause in one line, of the error that the backend had where it is one of its own."""
    inner = getattr(error, "inner_exception", None) or error
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return ": ".join([type(inner).__name__, *lines[:2]])
