"""Procedural streets: label maps and photo-like pictures of the same scenes, made from a seed.

Domain A holds label maps in Cityscapes' colours, domain B photos (light, shadows, texture, haze, a
noisy sensor), the other way round with `labels: b`. With `pictures: game` the label maps give way
to pictures as of a video game, to train on these and test on photos. One scene gives both, so the
counterpart and the exact mask of every test image are known. Training images of the two domains
show different streets unless `paired` is set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.data import _cityscapes, _streets, _toonfaces
from zoo.data._drawn import Drawings
from zoo.data._streets.game import render_game
from zoo.data._streets.picture import render_ids, render_mask, render_photo
from zoo.data._streets.scene import Scene
from zoo.data.cache import cache_of
from zoo.registry import DATASETS, UserError
from zoo.schema import Bounds, DataConfig

_OTHER = {"a": "b", "b": "a"}
# First index of the streets of each part: none is drawn twice whatever the numbers asked for.
_FIRST = {"train": {"a": 0, "b": 10_000_000}, "test": {"a": 20_000_000, "b": 30_000_000}}
_MOST = 10_000_000
_CODE = [
    Path(_cityscapes.__file__),
    *sorted(Path(_streets.__file__).parent.glob("*.py")),
    Path(_toonfaces.__file__).with_name("raster.py"),
    Path(_toonfaces.__file__).with_name("face.py"),
]


def render_labels(scene: Scene, size: int) -> NDArray[np.uint8]:
    """Draw a street in Cityscapes' colours, uint8 size x size x 3; what has no label is black."""
    return _cityscapes.colored(render_ids(scene, size))


_RENDER: dict[str, Callable[[Scene, int], NDArray[np.uint8]]] = {
    "labels": render_labels,
    "photo": render_photo,
    "game": render_game,
    "mask": render_mask,
}


@DATASETS.register("streets")
class Streets:
    """Drawn streets, as label maps and photo-like, with the exact mask of every image."""

    channels = (3, 3)

    @dataclass(kw_only=True)
    class Config(DataConfig):
        """Numbers of images and the seed; sizes as for every data set."""

        size: Annotated[
            int, "side of the square images that networks see, pixels", Bounds(least=16)
        ] = 64
        full_size: Annotated[
            int, "side of the masks, the original size of Cityscapes' labels", Bounds(least=16)
        ] = 128
        labels: Annotated[Literal["a", "b"], "the domain of label maps; the other holds photos"] = (
            "a"
        )
        pictures: Annotated[
            Literal["labels", "game"], "what that domain shows: label maps, or flat bright colours"
        ] = "labels"
        num_train: Annotated[int, "training images in each domain"] = 2000
        num_test: Annotated[int, "test images in each domain"] = 200
        seed: Annotated[int, "of the streets"] = 0
        paired: Annotated[bool, "training image i of both domains shows the same street"] = False

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
        self.label_side = config.labels if config.pictures == "labels" else None
        self._drawn: dict[tuple[str, int, int], Drawings[Scene]] = {}

    def domain(self, split: str, side: str) -> Drawings[Scene]:
        """Return the images of one side.

        Args:
            split: "train" or "test"; training images have the load size, test images the size.
            side: "a" or "b"; `labels` says which of them holds label maps.
        """
        size = self.config.resolved_load_size if split == "train" else self.config.size
        return self._drawings(split, side, self._style(side), size)

    def truth(self, side: str) -> Drawings[Scene]:
        """Return the counterparts, in the other style, of the test images of a side, in order."""
        return self._drawings("test", side, self._style(_OTHER[side]), self.config.size)

    def masks(self, split: str, side: str) -> Drawings[Scene]:
        """Return the masks of the streets of a side, in order.

        uint8 H W of `full_size`: train ids 0 to 18; 255 for the bonnet, and where no class covers
        3/4 of a pixel.
        """
        return self._drawings(split, side, "mask", self.config.full_size)

    def photos(self, split: str, side: str) -> Drawings[Scene]:
        """Return photos, of the size that networks see, of the streets of a side, in order."""
        return self._drawings(split, side, "photo", self.config.size)

    def label_maps(self, split: str, side: str) -> Drawings[Scene]:
        """Return label maps, of the size that networks see, of the streets of a side, in order."""
        return self._drawings(split, side, "labels", self.config.size)

    def attributes(self, side: str, split: str = "test") -> list[dict]:
        """Return what is known of each image of a side: sun, season, numbers of things."""
        drawings = self.domain(split, side)
        return [drawings.subject(index).attributes() for index in range(len(drawings))]

    def _style(self, side: str) -> str:
        return self.config.pictures if side == self.config.labels else "photo"

    def _drawings(self, split: str, side: str, style: str, size: int) -> Drawings[Scene]:
        train, config = split == "train", self.config
        first = _FIRST[split]["a" if train and self.paired else side]
        key = (style, first, size)
        if key not in self._drawn:
            self._drawn[key] = Drawings(
                partial(Scene.draw, config.seed),
                _RENDER[style],
                size,
                first,
                config.num_train if train else config.num_test,
                f"streets {style}, seed {config.seed}",
                _CODE,
                {"style": style, "seed": config.seed},
                cache_of(config),
            )
        return self._drawn[key]
