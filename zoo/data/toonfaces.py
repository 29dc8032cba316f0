"""Drawn faces: "photos" and "webtoons" of the same people, made on the fly from a seed.

Domain A looks like photos (light from a direction, sensor noise, soft focus, a blurred room),
domain B like webtoon panels (flat colours, dark outlines, large eyes, a narrow jaw, more hair). One
set of parameters gives both, so the true counterpart of every test image is known; it serves
evaluation only. Training images of the two domains show different people unless `paired` is set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from zoo.data._drawn import Drawings
from zoo.data._toonfaces.face import Face
from zoo.data._toonfaces.photo import render_photo
from zoo.data._toonfaces.toon import render_toon
from zoo.data.cache import ImageCache, cache_of
from zoo.registry import DATASETS, UserError
from zoo.schema import Bounds, DataConfig

_RENDER: dict[str, Callable[[Face, int], NDArray[np.uint8]]] = {"a": render_photo, "b": render_toon}
_OTHER = {"a": "b", "b": "a"}
# First index of the faces of each part: no face is drawn twice whatever the numbers asked for.
_FIRST = {"train": {"a": 0, "b": 10_000_000}, "test": {"a": 20_000_000, "b": 30_000_000}}
_MOST = 10_000_000


class _Faces(Drawings[Face]):
    """Images of consecutive faces in one style: "a" for photos, "b" for webtoons."""

    def __init__(
        self, style: str, size: int, seed: int, first: int, count: int, cache: ImageCache | None
    ):
        super().__init__(
            partial(Face.draw, seed),
            _RENDER[style],
            size,
            first,
            count,
            f"toonfaces {style.upper()}, seed {seed}",
            sorted(Path(__file__).with_name("_toonfaces").glob("*.py")),
            {"style": style, "seed": seed},
            cache,
        )

    def face(self, index: int) -> Face:
        """Return the parameters of one face."""
        return self.subject(index)


@DATASETS.register("toonfaces")
class ToonFaces:
    """Drawn faces, photo-like and webtoon-like, with the truth of every test image."""

    channels = (3, 3)

    @dataclass(kw_only=True)
    class Config(DataConfig):
        """Numbers of images and the seed; sizes as for every data set."""

        size: Annotated[
            int, "side of the square images that networks see, pixels", Bounds(least=16)
        ] = 64
        num_train: Annotated[int, "training images in each domain"] = 4000
        num_test: Annotated[int, "test images in each domain"] = 200
        seed: Annotated[int, "of the faces"] = 0
        paired: Annotated[bool, "training image i of both domains shows the same face"] = False

        def __post_init__(self):
            super().__post_init__()
            for name in ("num_train", "num_test"):
                if not 1 <= getattr(self, name) <= _MOST:
                    raise UserError(
                        f"data.{name} is {getattr(self, name)}; 1 to {_MOST} can be drawn"
                    )
            if self.seed < 0:
                raise UserError(f"data.seed is {self.seed}; it must not be negative")

    def __init__(self, config: Config):
        self.config = config
        self.paired = config.paired
        self._domains: dict[tuple[str, str, str], _Faces] = {}

    def domain(self, split: str, side: str) -> _Faces:
        """Return the images of one side.

        Args:
            split: "train" or "test"; training images have the load size, test images the size.
            side: "a" (photos) or "b" (webtoons).
        """
        return self._drawings(split, side, style=side)

    def truth(self, side: str) -> _Faces:
        """Return the counterparts, in the other style, of the test images of a side, in order."""
        return self._drawings("test", side, style=_OTHER[side])

    def attributes(self, side: str, split: str = "test") -> list[dict]:
        """Return what is known of each image of a side: hair, glasses, skin, smile, pose."""
        drawings = self._drawings(split, side, style=side)
        return [drawings.face(index).attributes() for index in range(len(drawings))]

    def training_attributes(self, side: str) -> list[dict]:
        """Return the same for each training image; no method of translation is given it."""
        return self.attributes(side, "train")

    def _drawings(self, split: str, side: str, style: str) -> _Faces:
        key = (split, side, style)
        if key not in self._domains:
            train = split == "train"
            first = _FIRST[split]["a" if train and self.paired else side]
            size = self.config.resolved_load_size if train else self.config.size
            count = self.config.num_train if train else self.config.num_test
            cache = cache_of(self.config)
            self._domains[key] = _Faces(style, size, self.config.seed, first, count, cache)
        return self._domains[key]
