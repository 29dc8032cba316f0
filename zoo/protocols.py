"""What networks, data sets and methods hand to one another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor


class Shape(NamedTuple):
    """The size of one image, batch left out."""

    channels: int
    height: int
    width: int


class Translation(NamedTuple):
    """What a generator returns."""

    image: Tensor | None  # N C H W in [-1, 1]; None with decode=False
    cam_logits: Tensor | None = None  # N K
    heatmap: Tensor | None = None  # N 1 h w
    features: tuple[Tensor, ...] = ()  # one per tap


class Judgement(NamedTuple):
    """What a discriminator returns."""

    logits: tuple[Tensor, ...]  # one per head, CAM heads included; no sigmoid
    features: tuple[Tensor, ...] = ()  # one per tap
    heatmap: Tensor | None = None  # N 1 h w, of the first head that has one


@dataclass(frozen=True)
class Batch:
    """One step's images, on the device.

    Attributes:
        a: real images of domain A, N C H W in [-1, 1].
        b: real images of domain B, N C H W in [-1, 1].
        step: iterations done before this one.
        images_seen: images (one image is a pair a, b) drawn before this step, by all processes.
        files: names of the images, ("a", "b") per pair, for messages.
    """

    a: Tensor
    b: Tensor
    step: int
    images_seen: int
    files: tuple[tuple[str, str], ...] = ()

    def chunk(self, k: int) -> list["Batch"]:
        """The batch cut into `k` equal parts, for methods that update a player `k` times a step."""
        n = len(self.a) // k
        return [
            Batch(
                self.a[i * n : (i + 1) * n],
                self.b[i * n : (i + 1) * n],
                self.step,
                self.images_seen + i * n,
                self.files[i * n : (i + 1) * n],
            )
            for i in range(k)
        ]


class Domain(Protocol):
    """The images of one side of one split.

    An attribute `kept`, which may be missing, tells by True that images need no decoding any more:
    `data.workers: auto` then starts few processes or none.
    """

    names: Sequence[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """Image `index`, uint8 H W C, at the data set's load size; not to be written to."""


class DataSet(Protocol):
    """Two domains of images, each with a train and a test split.

    A method `training_attributes(side)`, which may be missing, returns what is known of each
    training image of `side`, in their order, or None: metrics with a classifier learn from it.
    """

    paired: bool  # training image i of A belongs to training image i of B

    def domain(self, split: str, side: str) -> Domain:
        """The images of `split` ("train", "test") and `side` ("a", "b")."""

    def truth(self, side: str) -> Domain | None:
        """The counterparts, in the other domain, of the test images of `side`; None if unknown."""

    def attributes(self, side: str) -> list[dict] | None:
        """What is known of each test image of `side`; None if nothing is."""
