"""What is known of the steps done, and what is said when one of them was not finite."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist


class TrainingDiverged(RuntimeError):
    """A step had a non-finite term or gradient; the run is back at the step before."""


@dataclass(frozen=True)
class StepRecord:
    """What one step computed, on the host.

    Attributes:
        step: iterations done before it.
        images_seen: images seen before it.
        files: names of this process's images, ("a", "b") per pair.
        terms: raw terms by key, averaged over processes.
        bad: whether a term or a gradient was not finite on any process.
    """

    step: int
    images_seen: int
    files: tuple[tuple[str, str], ...]
    terms: dict[str, float]
    bad: bool


def fault_in(record: StepRecord) -> str:
    """What was wrong with a step, with its terms and images, three lines.

    Every process must call this alike, as it names the images of all.
    """
    wrong = [key for key, value in record.terms.items() if not math.isfinite(value)]
    terms = ", ".join(f"{key} = {value:.4g}" for key, value in sorted(record.terms.items()))
    images = "; ".join(f"{a} with {b}" for a, b in _of_all_processes(record.files))
    return (
        f"step {record.step} (after {record.images_seen} images) is not finite: "
        f"{', '.join(wrong) or 'a gradient'}.\n  terms: {terms}\n  images: {images}"
    )


def way_on(run: Path, images_seen: int) -> str:
    """What can be done with a run whose newest checkpoint is that after so many images."""
    return (
        f"The newest checkpoint is that after {images_seen} images. Look at the step's images.\n"
        f"To go on with other settings, such as a lower rate: zoo train {run}/recipe.yaml "
        f"--out NEW train.init.run={run} optim.lr=RATE"
    )


def _of_all_processes(files: tuple) -> list:
    if not dist.is_initialized():
        return list(files)
    gathered: list = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, files)
    return [pair for share in gathered for pair in share]
