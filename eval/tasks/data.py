"""Images with what is to be told about them: a class each, or a class for every pixel.

`TaskData` is what trainings and scores take. Where it comes from is an adapter, registered in
`TASK_DATA`; `from_arrays` makes one of arrays. Spatial changes go through image and mask alike, a
mask by the nearest pixel, so that no label is invented.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import numpy as np
from PIL import Image

from eval.tasks.scores import IGNORE
from zoo.images import resize
from zoo.registry import Registry, UserError, nearest
from zoo.schema import NOT_NEGATIVE, SHARE, Bounds

TASK_DATA = Registry("task data set", "eval.tasks")
TASK_MODELS = Registry("task model", "eval.tasks")

Task = Literal["classification", "segmentation"]
Target = int | np.ndarray  # class of an image, or uint8 H W classes of its pixels


class Sample(NamedTuple):
    """One image and its label."""

    image: np.ndarray  # uint8 H W 3
    target: Target
    id: str


@dataclass(frozen=True)
class TaskData(Sequence[Sample]):
    """Images that are read when asked for, with their labels.

    Attributes:
        task: what the labels are; None: there are none.
        classes: names of the classes, in the order of their numbers.
        ids: one for each image, different from one another; relative paths without extension where
            there are files.
        image_of: image by position, uint8 H W 3.
        target_of: label by position; may be called for labelled data only.
        files: the image files, where there are any.
    """

    task: Task | None
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    image_of: Callable[[int], np.ndarray]
    target_of: Callable[[int], Target]
    files: tuple[Path, ...] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:
        """Return one image with its label."""
        index = range(len(self))[index]
        return Sample(self.image_of(index), self.target_of(index), self.ids[index])

    def subset(self, chosen: Sequence[int]) -> "TaskData":
        """These images only, in this order."""
        places = [range(len(self))[i] for i in chosen]
        return replace(
            self,
            ids=tuple(self.ids[i] for i in places),
            image_of=lambda i: self.image_of(places[i]),
            target_of=lambda i: self.target_of(places[i]),
            files=None if self.files is None else tuple(self.files[i] for i in places),
        )

    def with_images(self, image_of: Callable[[int], np.ndarray]) -> "TaskData":
        """The same labels with other images of the same sizes, such as translations."""
        return replace(self, image_of=image_of, files=None)

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> "TaskData":
        """The same labels with every image changed by a function."""
        return self.with_images(lambda i: change(self.image_of(i)))

    def kept(self) -> "TaskData":
        """The same, with images and labels in memory from their first use on."""
        images: dict[int, np.ndarray] = {}
        targets: dict[int, Target] = {}

        def once(kept: dict, read: Callable[[int], Any]) -> Callable[[int], Any]:
            return lambda i: kept[i] if i in kept else kept.setdefault(i, read(i))

        return replace(
            self, image_of=once(images, self.image_of), target_of=once(targets, self.target_of)
        )

    def labels(self) -> np.ndarray:
        """The classes of all images, int64 (n,); for classification only."""
        assert self.task == "classification"
        return np.array([self.target_of(i) for i in range(len(self))], np.int64)

    def renumbered(self, classes: Sequence[str], where: str) -> "TaskData":
        """The same labels by the numbers that they have in `classes`.

        Raises:
            UserError: a class has no number there; `where` says whose it is.
        """
        if self.task is None or tuple(classes) == self.classes:
            return self
        for name in self.classes:
            if name not in classes:
                raise UserError(
                    f"{where} has a class {name!r}, which the source does not have."
                    f"{nearest(name, classes)} Classes: {', '.join(classes)}"
                )
        numbers = np.full(256, IGNORE, np.uint8)
        numbers[: len(self.classes)] = [list(classes).index(name) for name in self.classes]

        def renumber(i: int) -> Target:
            target = self.target_of(i)
            return numbers[target] if isinstance(target, np.ndarray) else int(numbers[target])

        return replace(self, classes=tuple(classes), target_of=renumber)


def from_arrays(
    images: Sequence[np.ndarray],
    targets: Sequence[Target],
    classes: Sequence[str],
    ids: Sequence[str] | None = None,
) -> TaskData:
    """Task data of arrays.

    Args:
        images: uint8 H W 3 each.
        targets: whole numbers, or uint8 H W masks with 255 for what does not count.
        classes: names of the classes.
        ids: names of the images; None: their numbers.

    Raises:
        UserError: another number of targets or ids than of images, or ids that repeat.
    """
    names = tuple(f"{i:06d}" for i in range(len(images))) if ids is None else tuple(ids)
    if not len(images) == len(targets) == len(names) == len(set(names)):
        raise UserError(
            f"{len(images)} images, {len(targets)} targets and {len(set(names))} different ids "
            f"do not belong together"
        )
    masks = len(targets) > 0 and isinstance(targets[0], np.ndarray) and targets[0].ndim == 2

    def target_of(i: int) -> Target:
        return targets[i] if masks else int(targets[i])

    task: Task = "segmentation" if masks else "classification"
    return TaskData(task, tuple(classes), names, lambda i: images[i], target_of)


def joined(first: TaskData, second: TaskData, prefix: str) -> TaskData:
    """The images of both; ids of the second get a prefix, as they may be the first's."""
    if first.task != second.task or first.classes != second.classes:
        raise ValueError("data of different tasks or classes cannot be joined")
    n = len(first)

    def either(a: Callable[[int], Any], b: Callable[[int], Any]) -> Callable[[int], Any]:
        return lambda i: a(i) if i < n else b(i - n)

    return replace(
        first,
        ids=first.ids + tuple(prefix + name for name in second.ids),
        image_of=either(first.image_of, second.image_of),
        target_of=either(first.target_of, second.target_of),
        files=None,
    )


def split(data: TaskData, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Positions of two parts, the second with `share` of the images, at least one where it can be.

    Of classes, every one is split by itself, so that both parts have it if it has two images.

    Args:
        data: labelled images.
        share: of the second part, in [0, 1).
        seed: of the choice; it depends on nothing else but number and classes of the images.
    """
    rng = np.random.default_rng([seed, len(data)])
    if data.task == "classification":
        labels = data.labels()
        groups = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    else:
        groups = [np.arange(len(data))]
    second: list[int] = []
    for group in groups:
        count = min(max(round(share * len(group)), share > 0), len(group) - 1)
        second += rng.permutation(group)[:count].tolist()
    chosen = set(second)
    return [i for i in range(len(data)) if i not in chosen], sorted(second)


def resize_mask(mask: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Resize labels by the nearest pixel: uint8 H W to (height, width), or a square."""
    height, width = (size, size) if isinstance(size, int) else size
    if mask.shape == (height, width):
        return mask
    return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


# What adapters share -----------------------------------------------------------------------------

Size = int | tuple[int, int]


@dataclass(kw_only=True)
class TaskDataConfig:
    """What every adapter takes; its own Config derives from it."""

    size: Annotated[
        Annotated[int, Bounds(least=8)] | tuple[int, int] | None,
        "pixels, one number or [height, width]; null: as they are",
    ] = None
    part: Annotated[
        tuple[float, float], "from and to: the share of the shuffled images that is taken", SHARE
    ] = (0, 1)
    part_seed: Annotated[int, "of that order", NOT_NEGATIVE] = 0
    limit: Annotated[int, "most images taken, evenly spaced; 0: all", NOT_NEGATIVE] = 0
    shuffle_labels: Annotated[
        bool, "labels dealt out anew among the images: a control, which must end at chance"
    ] = False

    def __post_init__(self):
        if self.part[0] >= self.part[1]:
            raise UserError(f"part is {list(self.part)}; the first number must be the smaller one")


class TaskDataSet(Protocol):
    """An adapter: constructed from its config, it loads its images."""

    def __init__(self, config: Any): ...

    def load(self) -> TaskData:
        """Find the images.

        Raises:
            UserError: they are not there, or their labels are wrong.
        """


def _chosen_part(data: TaskData, config: TaskDataConfig) -> TaskData:
    """The part of all images that a config takes; parts that do not overlap share no image."""
    places = list(range(len(data)))
    if config.part != (0, 1):
        order = np.random.default_rng(config.part_seed).permutation(len(data))
        first, last = (round(share * len(data)) for share in config.part)
        places = sorted(order[first:last].tolist())
    if config.limit and config.limit < len(places):
        places = [places[i * len(places) // config.limit] for i in range(config.limit)]
    if not places:
        raise UserError(f"part {list(config.part)} of {len(data)} images holds none")
    return data if len(places) == len(data) else data.subset(places)


def prepared(data: TaskData, config: TaskDataConfig, size: Size | None = None) -> TaskData:
    """What an adapter found, as its config wants it.

    Args:
        data: all images.
        config: the adapter's.
        size: of masks too, where the config sets none; None: images and masks as they are.
    """
    data = _chosen_part(data, config)
    if config.shuffle_labels:
        labels = data.target_of
        order = np.random.default_rng([config.part_seed, len(data)]).permutation(len(data))
        data = replace(data, target_of=lambda i: labels(int(order[i])))
    return _resized(data, config.size or size)


def _resized(data: TaskData, size: Size | None) -> TaskData:
    """Every image at a size, and its mask by the nearest pixel."""
    if size is None:
        return data

    def target_of(i: int) -> Target:
        target = data.target_of(i)
        return resize_mask(target, size) if isinstance(target, np.ndarray) else target

    return replace(data, image_of=lambda i: resize(data.image_of(i), size), target_of=target_of)
