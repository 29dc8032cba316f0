"""Training batches in an order that depends on nothing but the seed and the images seen.

Sample n of a run is position n mod L of epoch n // L, where L is the size of the longer domain. The
longer domain is shuffled anew every epoch; the shorter one is drawn from at random, as published.
Order, crop and flip are drawn from generators keyed by (seed, epoch, position), so a run that
resumes at any image, in any number of worker processes, sees what it would have seen.

Crops are views of the decoded images, copied once into the batch. It goes to the device as bytes,
where it is mirrored and normalised.
"""

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo.data.transforms import augment, normalise
from zoo.protocols import Batch, DataSet
from zoo.registry import UserError
from zoo.schema import DataConfig

_ORDER, _CROP = 0, 1  # what a generator is for


class Sample(NamedTuple):
    """One pair (a, b), cropped but not yet mirrored."""

    a: np.ndarray  # uint8 size size C, a view
    b: np.ndarray
    flipped: tuple[bool, bool]  # whether a and b are to be mirrored
    names: tuple[str, str]


class TrainingSamples(Dataset):
    """The samples of a run by number.

    Args:
        dataset: the two domains.
        config: `size` and `flip`.
        seed: of the run.
    """

    def __init__(self, dataset: DataSet, config: DataConfig, seed: int):
        self.a, self.b = dataset.domain("train", "a"), dataset.domain("train", "b")
        self.paired = dataset.paired
        self.size, self.flip, self.seed = config.size, config.flip, seed
        self.epoch_images = max(len(self.a), len(self.b))

    def __getitem__(self, n: int) -> Sample:
        epoch, position = divmod(n, self.epoch_images)
        index_a = self._index(epoch, position, len(self.a), side=0)
        index_b = index_a if self.paired else self._index(epoch, position, len(self.b), side=1)
        a, flip_a = augment(self.a[index_a], self._rng(epoch, position, 0), self.size, self.flip)
        side_b = 0 if self.paired else 1  # a pair is cropped and flipped alike
        rng_b = self._rng(epoch, position, side_b)
        b, flip_b = augment(self.b[index_b], rng_b, self.size, self.flip)
        return Sample(a, b, (flip_a, flip_b), (self.a.names[index_a], self.b.names[index_b]))

    def _index(self, epoch: int, position: int, length: int, side: int) -> int:
        if length == self.epoch_images:
            return int(_permutation(self.seed, epoch, side, length)[position])
        return int(
            np.random.default_rng([self.seed, epoch, _ORDER, side, position]).integers(length)
        )

    def _rng(self, epoch: int, position: int, side: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, _CROP, side, position])


@lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, side: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, _ORDER, side]).permutation(length)


def training_batches(
    dataset: DataSet,
    config: DataConfig,
    *,
    seed: int,
    batch: int,
    steps: range,
    rank: int = 0,
    num_processes: int = 1,
    device: torch.device,
) -> Iterator[Batch]:
    """This process's share of the batches of some steps; what cannot work is refused at once.

    Args:
        dataset: the two domains.
        config: the data section of the recipe.
        seed: of the run.
        batch: images a step over all processes.
        steps: the steps to come, `range(done, total)`.
        rank: number of this process.
        num_processes: processes that share a batch.
        device: where the batches go.

    Raises:
        UserError: `batch` does not divide by the number of processes, or the training images
            cannot be used.
    """
    if batch % num_processes:
        lower = max(1, batch // num_processes) * num_processes
        raise UserError(
            f"train.batch is {batch}, which {num_processes} processes cannot share equally; "
            f"use a multiple of {num_processes}, such as train.batch={lower}"
        )
    share = batch // num_processes
    samples = TrainingSamples(dataset, config, seed)
    kept = all(getattr(domain, "kept", False) for domain in (samples.a, samples.b))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", num_processes))
    workers = auto_workers(kept, here, device) if config.workers == "auto" else config.workers
    loader = DataLoader(
        samples,
        batch_sampler=_SampleNumbers(steps, batch, rank * share, share),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
    )
    return _on_device(loader, steps, batch, device)


def auto_workers(kept: bool, processes: int, device: torch.device) -> int:
    """Worker processes that suit the machine.

    A sample out of the cache costs a tenth of a millisecond, less than sending it from a worker to
    a training process on the CPU. A GPU is kept busy by a process that only queues its work, so one
    worker prepares for it. Where images are decoded each time, workers take the processors that
    training processes leave: on the CPU, where the step itself wants them all, 2 at most.

    Args:
        kept: whether images are decoded already.
        processes: training processes on this machine.
        device: what trains.
    """
    spare = max(0, _processors() // processes - 1)
    on_cpu = device.type == "cpu"
    if kept:
        return 0 if on_cpu else min(1, spare)
    return min(2 if on_cpu else 8, spare)


def _processors() -> int:
    """Processors that this process may run on, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _on_device(
    loader: DataLoader, steps: range, batch: int, device: torch.device
) -> Iterator[Batch]:
    for step, (a, b, flips, files) in zip(steps, loader, strict=True):
        real_a, real_b = (
            normalise(images.to(device, non_blocking=True), flipped)
            for images, flipped in zip((a, b), flips, strict=True)
        )
        yield Batch(real_a, real_b, step, step * batch, files)


class _SampleNumbers:
    """For each step, the numbers of the samples that one process takes."""

    def __init__(self, steps: range, batch: int, first: int, share: int):
        self.steps, self.batch, self.first, self.share = steps, batch, first, share

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            start = step * self.batch + self.first
            yield list(range(start, start + self.share))

    def __len__(self) -> int:
        return len(self.steps)


def _collate(samples: list[Sample]) -> tuple[Tensor, Tensor, list, tuple]:
    """Images of a and of b, uint8 N H W C; for each side what is mirrored; the names of pairs."""
    a, b, flips, names = zip(*samples, strict=True)
    sides = list(zip(*flips, strict=True))
    return torch.from_numpy(np.stack(a)), torch.from_numpy(np.stack(b)), sides, names
