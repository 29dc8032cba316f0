"""An adapter for data sets of Zoo that know what their images show."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from eval.tasks.data import (
    TASK_DATA,
    TaskData,
    TaskDataConfig,
    prepared,
)
from zoo.data._cityscapes import NAMES
from zoo.images import resize
from zoo.registry import DATASETS, Part, UserError, nearest, part

MOST_CLASSES = 200


@TASK_DATA.register("dataset")
class ZooDataSet:
    """One side of a data set of Zoo: digits, drawn faces by an attribute, streets with masks."""

    @dataclass(kw_only=True)
    class Config(TaskDataConfig):
        """Which side, and which of the things known of its images is the class."""

        data: Part = part(DATASETS, "toonfaces")
        side: Annotated[Literal["a", "b"], "domain"] = "a"
        split: Annotated[Literal["train", "test"], "its training or test images"] = "train"
        attribute: Annotated[str, "what is the class, such as digit or glasses"] = ""

    def __init__(self, config: Config):
        self.config = config

    def load(self) -> TaskData:
        """Make the images; they have the data set's `size` unless the adapter sets another."""
        config, data = self.config, self.config.data
        dataset: Any = data.build()
        domain = dataset.domain(config.split, config.side)
        ids = tuple(image_ids(data, config.split, config.side, domain.names))
        size = data.config.size

        def image_of(i: int) -> Any:
            return resize(domain[i], size)

        if not config.attribute and hasattr(dataset, "masks"):
            masks = dataset.masks(config.split, config.side)
            found = TaskData("segmentation", NAMES, ids, image_of, lambda i: masks[i])
            return prepared(found, config, size)
        names = self._names(dataset)
        classes = tuple(sorted(set(names)))
        numbers = {name: number for number, name in enumerate(classes)}
        found = TaskData("classification", classes, ids, image_of, lambda i: numbers[names[i]])
        return prepared(found, config, size)

    def _names(self, dataset: Any) -> list[str]:
        """The class of every image."""
        config = self.config
        if dataset.attributes(config.side) is None:
            raise UserError(f"the data set {config.data.name!r} knows nothing of its images")
        known = dataset.attributes(config.side, config.split)
        if config.attribute not in known[0]:
            raise UserError(
                f"attribute is {config.attribute!r}, and images of {config.data.name!r} have none "
                f"such.{nearest(config.attribute, known[0])} Attributes: {', '.join(known[0])}"
            )
        values = [image[config.attribute] for image in known]
        if isinstance(values[0], float) or len(set(values)) > MOST_CLASSES:
            raise UserError(f"attribute {config.attribute!r} is a measure, not a class")
        return [str(value) for value in values]


def image_ids(data: Part, split: str, side: str, names: Any) -> list[str]:
    """Ids of a data set's images, by which they are known wherever that set is used."""
    seed = getattr(data.config, "seed", None)
    where = data.name if seed is None else f"{data.name}-{seed}"
    return [f"{where}/{split}_{side}/{name.removesuffix('.png')}" for name in names]
