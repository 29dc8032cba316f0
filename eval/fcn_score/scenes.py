"""Scenes known both as a photo and as a mask: from a recipe, Cityscapes, or any files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from eval.fcn_score.colors import checked_palette, colored
from eval.scores import PixelHash
from eval.tasks.cityscapes import Cityscapes
from eval.tasks.data import TASK_DATA, TaskData
from eval.tasks.drawn import image_ids
from eval.tasks.masks import KNOWN
from zoo.data._cityscapes import NAMES, PALETTE
from zoo.images import printable, resize
from zoo.recipe import RecipeError, load_recipe, parse_file
from zoo.registry import Part, UserError, part
from zoo.typed import Checker

_CITYSCAPES = KNOWN["cityscapes"]


@dataclass(frozen=True)
class Scenes:
    """Photos and masks of the same scenes, read when asked for.

    Attributes:
        name: of the data, for people.
        classes: names of the classes, in the order of their numbers.
        palette: uint8 (classes, 3) their colours in a label map; None where none are known.
        ids: one for each scene.
        photo_of: photo by position, uint8 H W 3.
        mask_of: classes of its pixels at their original size, uint8 H W; 255 does not count.
        picture_of: label map by position and side, uint8 side side 3, as translators see it.
    """

    name: str
    classes: tuple[str, ...]
    palette: np.ndarray | None
    ids: tuple[str, ...]
    photo_of: Callable[[int], np.ndarray]
    mask_of: Callable[[int], np.ndarray]
    picture_of: Callable[[int, int], np.ndarray]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.ids)

    def at(self, places: Sequence[int]) -> "Scenes":
        """These scenes only, in this order."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in places),
            photo_of=lambda i: self.photo_of(places[i]),
            mask_of=lambda i: self.mask_of(places[i]),
            picture_of=lambda i, side: self.picture_of(places[i], side),
        )

    def evenly(self, count: int) -> "Scenes":
        """That many scenes, evenly spaced; 0: all."""
        if not 0 < count < len(self):
            return self
        return self.at([i * len(self) // count for i in range(count)])

    def digests(self) -> tuple[str, list[str]]:
        """Hashes of pixels, not of names.

        Returns:
            That of all photos and masks: numbers belong together only if it agrees; and those of
            each photo, to find one in two sets.
        """
        everything, photos = PixelHash(), []
        for i in range(len(self)):
            photo, alone = self.photo_of(i), PixelHash()
            alone.add(photo)
            photos.append(alone.hexdigest())
            everything.add(photo)
            everything.add(self.mask_of(i))
        return everything.hexdigest(), photos


@dataclass(kw_only=True)
class LabelledPhotos:
    """What a YAML file of data says: where photos with masks are."""

    train: Annotated[Part, "photos with masks that the segmenter learns from"] = part(
        TASK_DATA, "cityscapes"
    )
    test: Annotated[Part, "others, that are scored"] = part(TASK_DATA, "cityscapes")
    colors: Annotated[
        list[tuple[int, int, int]], "of the classes in a label map, in order; empty: Cityscapes'"
    ] = field(default_factory=list)


def load_scenes(data: str | Path, split: str, side: str = "b") -> Scenes:
    """The scenes of a recipe, a run, a folder in Cityscapes' layout, or a YAML file.

    Args:
        data: name or file of a recipe whose data set knows masks, run folder, folder with
            leftImg8bit and gtFine, or a file with the fields of `LabelledPhotos`.
        split: "train" or "test"; Cityscapes' own validation photos are the test.
        side: of a recipe's data set, which has other scenes on either; files have one set.

    Raises:
        UserError: it is none of these, or has no masks.
    """
    path = Path(data)
    if path.is_dir():
        if (path / "recipe.yaml").is_file():
            return of_dataset(load_recipe(path / "recipe.yaml").data, split, side)
        return _cityscapes(path, split)
    if path.is_file() and not _is_recipe(path):
        return _of_file(path, split)
    return of_dataset(load_recipe(data).data, split, side)


def of_dataset(data: Part, split: str, side: str) -> Scenes:
    """The scenes of a data set that draws them.

    Raises:
        UserError: it knows no masks.
    """
    dataset: Any = data.build()
    if getattr(dataset, "label_side", None) is None:
        raise UserError(
            f"the data set {data.name!r} has no masks; name data that have: --data FOLDER in "
            f"Cityscapes' layout, or a YAML file of images and masks"
        )
    masks, photos = dataset.masks(split, side), dataset.photos(split, side)
    labels = dataset.label_maps(split, side)
    return Scenes(
        name=f"{data.name}, seed {data.config.seed}, {split} scenes of {side.upper()}",
        classes=NAMES,
        palette=PALETTE,
        ids=tuple(image_ids(data, split, side, masks.names)),
        photo_of=lambda i: photos[i],
        mask_of=lambda i: masks[i],
        picture_of=lambda i, size: resize(labels[i], size),
    )


def of_task_data(found: TaskData, name: str, colors: Sequence[tuple[int, int, int]] = ()) -> Scenes:
    """The scenes of images with masks.

    Args:
        found: segmentation.
        name: of the data, for people.
        colors: of its classes in a label map; empty: Cityscapes', if its classes are these.

    Raises:
        UserError: it is of another task, or colours are not one for each class.
    """
    if found.task != "segmentation":
        raise UserError(f"{name}: the FCN-score needs a mask for each image, not {found.task}")
    palette = None
    if colors:
        palette = checked_palette(np.array(colors), len(found.classes))
    elif found.classes == _CITYSCAPES.names:
        palette = PALETTE

    def mask_of(i: int) -> np.ndarray:
        return np.asarray(found.target_of(i))

    def picture_of(i: int, side: int) -> np.ndarray:
        if palette is None:
            raise UserError(f"{name}: no colours are known of its classes; set colors")
        return resize(colored(mask_of(i), palette), side)

    return Scenes(name, found.classes, palette, found.ids, found.image_of, mask_of, picture_of)


def _cityscapes(root: Path, split: str) -> Scenes:
    config = Cityscapes.Config(root=str(root), split="train" if split == "train" else "val")
    return of_task_data(Cityscapes(config).load(), f"Cityscapes, {config.split}")


def _is_recipe(path: Path) -> bool:
    tree = parse_file(path, [])
    return any(key in tree.value for key in ("method", "extends", "data"))


def _of_file(path: Path, split: str) -> Scenes:
    checker = Checker()
    found = checker.config(LabelledPhotos, parse_file(path, checker.problems), "")
    if checker.problems:
        raise RecipeError(checker.problems)
    chosen: Part = found.train if split == "train" else found.test
    return of_task_data(chosen.build().load(), f"{printable(path.name)}, {split}", found.colors)
