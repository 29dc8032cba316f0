"""Handwritten digits: as scanned, and as if painted dark on coloured, textured paper.

The digits are those that come with scikit-learn, 1 797 real ones of 8 x 8 pixels. Domain A shows
them light on black, domain B dark on paper whose colours and texture are drawn for each image. No
digit is in two parts, so a network that reads them can be trained on translations and tested on
the real thing; see docs/how-to/adapt.md.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.registry import DATASETS, UserError
from zoo.schema import NOT_NEGATIVE, SHARE, Bounds, DataConfig

# First and last of each part, in an order shuffled by the seed.
PARTS = {
    ("train", "a"): (0, 800),
    ("train", "b"): (800, 1300),
    ("test", "a"): (1300, 1497),
    ("test", "b"): (1497, 1797),
}
_INK = 7 / 8  # of the image's side


@cache
def _scans() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All digits, N 8 8 in [0, 1], and which they are."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError(
            "data.name digits needs scikit-learn: pip install 'translation-zoo[digits]'"
        ) from None
    found = load_digits()
    return (found.images / 16).astype(np.float32), found.target.astype(np.int64)


def _ink(scan: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """How much ink there is at each pixel, size size 1 in [0, 1]."""
    side = round(size * _INK)
    large = Image.fromarray(scan).resize((side, side), Image.Resampling.BICUBIC)
    before = (size - side) // 2
    margin = (before, size - side - before)
    return np.pad(np.asarray(large), (margin, margin)).clip(0, 1)[:, :, None]


def _scanned(ink: NDArray[np.float32], _: np.random.Generator) -> NDArray[np.float32]:
    return ink.repeat(3, 2)


def _painted(ink: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    size = len(ink)
    paper = rng.uniform(0.5, 1, 3) + _texture(rng, 5, size, 0.15) + _texture(rng, size, size, 0.03)
    return paper * (1 - ink) + rng.uniform(0, 0.3, 3) * ink


def _texture(rng: np.random.Generator, cells: int, size: int, contrast: float) -> NDArray:
    """Noise of so many cells a side, made smooth, size size 3."""
    coarse = rng.normal(0, contrast, (3, cells, cells)).astype(np.float32)
    planes = [Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC) for p in coarse]
    return np.stack([np.asarray(plane) for plane in planes], 2)


_RENDER = {"a": _scanned, "b": _painted}


class _Digits:
    """The images of one part, each made on first use and kept."""

    kept = True

    def __init__(self, side: str, size: int, seed: int, chosen: NDArray[np.int64]):
        self._side, self._size, self._seed, self._chosen = side, size, seed, chosen
        self.names = [f"{index:04d}.png" for index in chosen]
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return one image, uint8 H W 3, not to be written to."""
        number = int(self._chosen[range(len(self))[index]])
        if number not in self._kept:
            rng = np.random.default_rng([self._seed, number])
            image = _RENDER[self._side](_ink(_scans()[0][number], self._size), rng)
            self._kept[number] = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
            self._kept[number].flags.writeable = False
        return self._kept[number]


@DATASETS.register("digits")
class Digits:
    """Handwritten digits, as scanned and as if painted on coloured paper; needs scikit-learn."""

    paired = False
    channels = (3, 3)

    @dataclass(kw_only=True)
    class Config(DataConfig):
        """The seed; sizes as for every data set, but a mirrored digit is none."""

        size: Annotated[
            int, "side of the square images that networks see, pixels", Bounds(least=16)
        ] = 32
        flip: Annotated[float, "probability of a left-right flip in training", SHARE] = 0.0
        seed: Annotated[int, "of the parts and of the paper", NOT_NEGATIVE] = 0

    def __init__(self, config: Config):
        self.config = config
        self._order = np.random.default_rng(config.seed).permutation(len(_scans()[0]))
        self._domains: dict[tuple[str, str], _Digits] = {}

    def domain(self, split: str, side: str) -> _Digits:
        """Return the images of one side.

        Args:
            split: "train" or "test"; training images have the load size, test images the size.
            side: "a" (scanned) or "b" (painted).
        """
        key = (split, side)
        if key not in self._domains:
            config = self.config
            size = config.resolved_load_size if split == "train" else config.size
            self._domains[key] = _Digits(side, size, config.seed, self._order[slice(*PARTS[key])])
        return self._domains[key]

    def truth(self, side: str) -> None:
        """Return None: the paper of a counterpart could have any colour."""
        return

    def attributes(self, side: str, split: str = "test") -> list[dict]:
        """Return which digit each image of a side shows."""
        digits = _scans()[1][self._order[slice(*PARTS[split, side])]]
        return [{"digit": int(digit)} for digit in digits]

    def training_attributes(self, side: str) -> list[dict]:
        """Return which digit each training image of a side shows."""
        return self.attributes(side, "train")
