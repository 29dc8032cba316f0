"""What is known of the steps done, and what happens when one of them was not finite."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor


class TrainingDiverged(RuntimeError):
    """A step had a non-finite term or gradient; the weights are those of the step before."""


@dataclass(frozen=True)
class StepRecord:
    """What one step computed, on the host.

    Attributes:
        step: iterations done before it.
        images_seen: images seen before it.
        files: names of this process's images, ("a", "b") per pair.
        terms: raw terms by key, averaged over processes.
        bad: whether this step, or an earlier one, was not finite on any process.
    """

    step: int
    images_seen: int
    files: tuple[tuple[str, str], ...]
    terms: dict[str, float]
    bad: bool


class Undo:
    """Keeps what a step may change before its last term is known, to put it back.

    Args:
        tensors: gives the live tensors, always as many, of the same shapes and in the same order.
    """

    def __init__(self, tensors: Callable[[], list[Tensor]]):
        self._tensors = tensors
        self._kept: list[Tensor] = []

    @torch.no_grad()
    def remember(self, bad: Tensor) -> None:
        """Take the present values, unless `bad`, a scalar on the device, is above 0."""
        live = self._tensors()
        if not self._kept:
            self._kept = [tensor.clone() for tensor in live]
        for kept, now in zip(self._kept, live, strict=True):
            torch.where(bad > 0, kept, now, out=kept)

    @torch.no_grad()
    def restore(self) -> None:
        """Put back what was remembered last."""
        for now, kept in zip(self._tensors(), self._kept, strict=True):
            now.copy_(kept)


def raise_if_bad(records: list[StepRecord], run: Path) -> None:
    """Stop at the first step that was not finite; every process must call this alike.

    Raises:
        TrainingDiverged: names the step, its terms and the images of all processes.
    """
    for record in records:
        if record.bad:
            wrong = [key for key, value in record.terms.items() if not math.isfinite(value)]
            terms = ", ".join(f"{key} = {value:.4g}" for key, value in sorted(record.terms.items()))
            images = "; ".join(f"{a} with {b}" for a, b in _of_all_processes(record.files))
            raise TrainingDiverged(
                f"step {record.step} (after {record.images_seen} images) is not finite: "
                f"{', '.join(wrong) or 'a gradient'}. That step changed nothing, and nothing was "
                f"saved after it.\n  terms: {terms}\n  images: {images}\n"
                f"Look at those images. To go on from the last checkpoint with other settings, "
                f"such as a lower rate: zoo train {run}/recipe.yaml --out NEW "
                f"train.init.run={run} optim.lr=RATE"
            )


def _of_all_processes(files: tuple) -> list:
    if not dist.is_initialized():
        return list(files)
    gathered: list = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, files)
    return [pair for share in gathered for pair in share]
