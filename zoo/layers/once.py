"""One forward where several parts of a step ask for the same judgement."""

from typing import Any

from torch import Tensor, nn


class Once(nn.Module):
    """Asks a network about each tensor once; asked again, it gives the same answer.

    Made anew for every update: an answer holds the graph that it was computed with, and, if it was
    given inside `frozen`, reaches no parameter later either.

    Args:
        network: takes one tensor, and its origin too if it `remembers`.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.remembers = getattr(network, "remembers", False)
        self._answers: dict[int, tuple[Tensor, Any]] = {}  # by id; the tensor keeps it taken

    def forward(self, x: Tensor, *origin: str) -> Any:
        """What the network says about `x`, the very same tensor object."""
        if id(x) not in self._answers:
            self._answers[id(x)] = (x, self.network(x, *origin))
        return self._answers[id(x)][1]
