"""Features of earlier images, for heads that compare the images of a batch."""

import torch
from torch import Tensor


class FeatureQueue:
    """The last items of all batches pushed, in a ring.

    Args:
        size: items kept; 0 keeps nothing.
    """

    whole_batch = "puts images of earlier batches beside those of this one"

    def __init__(self, size: int):
        self.size = size
        self.items: list[Tensor] = []  # each C H W
        self.next = 0  # where the next item goes

    def push(self, features: Tensor) -> None:
        """Keep every item of features N C H W, detached; the oldest ones make room."""
        for item in features.detach() if self.size else ():
            if len(self.items) < self.size:
                self.items.append(item.clone())
            else:
                self.items[self.next] = item.clone()
            self.next = (self.next + 1) % self.size

    def query(self) -> Tensor | None:
        """What is kept, N C H W in the order of the ring; None while it is empty."""
        return torch.stack(self.items) if self.items else None

    def state(self) -> list[Tensor]:
        """The items, whose tensors are never written in place, and the place of the next one."""
        return [*self.items, torch.tensor(self.next)]

    def load(self, state: list[Tensor]) -> None:
        """Take back what `state` returned."""
        self.items, self.next = list(state[:-1]), int(state[-1])
