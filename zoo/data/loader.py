"""Training batches in an order that depends on nothing but the seed and the images seen.

Sample n of a run is position n mod L of epoch n // L, where L is the size of the longer domain. The
longer domain is shuffled anew every epoch; the shorter one is drawn from at random, as published.
Order, crop and flip are drawn from generators keyed by (seed, epoch, position), so a run that
resumes at any image, in any number of worker processes, sees what it would have seen.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo.data.transforms import augment
from zoo.protocols import Batch, DataSet
from zoo.registry import UserError
from zoo.schema import DataConfig

_ORDER, _CROP = 0, 1  # what a generator is for


class TrainingSamples(Dataset):
    """Sample number n -> (a, b, name of a, name of b), images uint8 H W C, cropped and flipped.

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

    def __getitem__(self, n: int) -> tuple[np.ndarray, np.ndarray, str, str]:
        epoch, position = divmod(n, self.epoch_images)
        index_a = self._index(epoch, position, len(self.a), side=0)
        index_b = index_a if self.paired else self._index(epoch, position, len(self.b), side=1)
        a = augment(self.a[index_a], self._rng(epoch, position, 0), self.size, self.flip)
        side_b = 0 if self.paired else 1  # a pair is cropped and flipped alike
        b = augment(self.b[index_b], self._rng(epoch, position, side_b), self.size, self.flip)
        return a, b, self.a.names[index_a], self.b.names[index_b]

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
    loader = DataLoader(
        TrainingSamples(dataset, config, seed),
        batch_sampler=_SampleNumbers(steps, batch, rank * share, share),
        num_workers=config.workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
    )
    return _on_device(loader, steps, batch, device)


def _on_device(
    loader: DataLoader, steps: range, batch: int, device: torch.device
) -> Iterator[Batch]:
    for step, (a, b, files) in zip(steps, loader, strict=True):
        yield Batch(_to_device(a, device), _to_device(b, device), step, step * batch, files)


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


def _collate(samples: list) -> tuple[Tensor, Tensor, tuple[tuple[str, str], ...]]:
    a, b, names_a, names_b = zip(*samples, strict=True)
    names = tuple(zip(names_a, names_b, strict=True))
    return torch.from_numpy(np.stack(a)), torch.from_numpy(np.stack(b)), names


def _to_device(images: Tensor, device: torch.device) -> Tensor:
    """Uint8 N H W C to float N C H W in [-1, 1], contiguous, on the device."""
    images = images.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous()
    return images.float() / 127.5 - 1
