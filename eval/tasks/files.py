"""Adapters for files: a folder a class, images beside masks, a table, and plain images."""

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from eval.tasks.data import (
    TASK_DATA,
    TaskData,
    TaskDataConfig,
    prepared,
)
from eval.tasks.masks import MaskReader, class_names
from zoo.images import list_images, printable, read_image
from zoo.registry import UserError, nearest


def _folder(path: str, what: str) -> Path:
    """A folder that is there."""
    if not path:
        raise UserError(f"{what} is not set; it names a folder")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        parent = next(p for p in folder.absolute().parents if p.is_dir())
        names = [p.name for p in parent.iterdir()]
        missing = folder.absolute().relative_to(parent).parts[0]
        raise UserError(
            f"{what} {printable(folder)} does not exist: there is no {missing!r} in "
            f"{printable(parent)}.{nearest(missing, names)}"
        )
    return folder


def _ids(files: Sequence[Path], root: Path, suffix: str = "") -> list[str]:
    """Paths below the root without extension and suffix.

    Raises:
        UserError: two are the same.
    """
    found: dict[str, Path] = {}
    for file in files:
        relative = file.relative_to(root).with_suffix("").as_posix()
        name = relative.removesuffix(suffix)
        if name in found:
            raise UserError(
                f"{printable(root)}: {printable(found[name].name)} and {printable(file.name)} "
                f"have the same name without extension; rename one"
            )
        found[name] = file
    return list(found)


def _reader(files: Sequence[Path]) -> Callable[[int], np.ndarray]:
    return lambda i: read_image(files[i])


def _images_below(root: Path, what: str) -> list[Path]:
    files = list_images(root, recursive=True)
    if not files:
        raise UserError(f"{what} {printable(root)} holds no images, nor do its sub-folders")
    return files


def _no_label(_: int) -> int:
    raise AssertionError("these images have no labels")


@TASK_DATA.register("images")
class Images:
    """Images without labels: every image of a folder and its sub-folders."""

    @dataclass(kw_only=True)
    class Config(TaskDataConfig):
        """Where they are."""

        root: Annotated[str, "folder of images, also in sub-folders"] = ""

    def __init__(self, config: Config):
        self.config = config

    def load(self) -> TaskData:
        """Find the images."""
        root = _folder(self.config.root, "root")
        files = _images_below(root, "root")
        ids = tuple(_ids(files, root))
        data = TaskData(None, (), ids, _reader(files), _no_label, tuple(files))
        return prepared(data, self.config)


@TASK_DATA.register("class_folders")
class ClassFolders:
    """A folder for each class: root/horse/*.jpg, root/zebra/*.jpg."""

    @dataclass(kw_only=True)
    class Config(TaskDataConfig):
        """Where they are."""

        root: Annotated[str, "folder that holds one folder a class"] = ""

    def __init__(self, config: Config):
        self.config = config

    def load(self) -> TaskData:
        """Find the images; classes are numbered in the order of their folders' names."""
        root = _folder(self.config.root, "root")
        folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        files = [list_images(folder, recursive=True) for folder in folders]
        counted = [(f.name, found) for f, found in zip(folders, files, strict=True) if found]
        if len(counted) < 2:
            raise UserError(
                f"root {printable(root)} holds {len(counted)} folders with images; classes are "
                f"folders, and at least 2 are needed"
            )
        paths = [path for _, found in counted for path in found]
        labels = [number for number, (_, found) in enumerate(counted) for _ in found]
        data = TaskData(
            "classification",
            tuple(name for name, _ in counted),
            tuple(_ids(paths, root)),
            _reader(paths),
            lambda i: labels[i],
            tuple(paths),
        )
        return prepared(data, self.config)


@TASK_DATA.register("csv")
class CsvTable:
    """A table with one line an image: its path and its class."""

    @dataclass(kw_only=True)
    class Config(TaskDataConfig):
        """The table and the names of its columns."""

        file: Annotated[str, "the table, UTF-8, first line with the names of the columns"] = ""
        root: Annotated[str, "folder that paths are relative to; empty: the table's"] = ""
        path_column: Annotated[str, "column of the image's path"] = "path"
        label_column: Annotated[str, "column of the class"] = "label"
        delimiter: Annotated[str, "between columns"] = ","

    def __init__(self, config: Config):
        self.config = config

    def load(self) -> TaskData:
        """Read the table; classes are numbered in the order of their names."""
        config = self.config
        table = Path(config.file).expanduser()
        if not config.file or not table.is_file():
            raise UserError(f"file {printable(table)} is not a file")
        root = _folder(config.root, "root") if config.root else table.parent
        paths, names = self._rows(table, root)
        classes = tuple(sorted(set(names)))
        numbers = {name: i for i, name in enumerate(classes)}
        labels = [numbers[name] for name in names]
        data = TaskData(
            "classification",
            classes,
            tuple(_ids(paths, root)),
            _reader(paths),
            lambda i: labels[i],
            tuple(paths),
        )
        return prepared(data, config)

    def _rows(self, table: Path, root: Path) -> tuple[list[Path], list[str]]:
        config = self.config
        paths: list[Path] = []
        names: list[str] = []
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, delimiter=config.delimiter)
            columns = rows.fieldnames or []
            for column in (config.path_column, config.label_column):
                if column not in columns:
                    raise UserError(
                        f"{printable(table)}:1: there is no column {column!r}."
                        f"{nearest(column, columns)} Columns: {', '.join(columns) or 'none'}"
                    )
            for row in rows:
                where = f"{printable(table)}:{rows.line_num}"
                path, name = row[config.path_column], row[config.label_column]
                if not path or not name:
                    raise UserError(f"{where}: path or label is empty")
                file = Path(os.path.normpath(root / path))
                if not file.is_relative_to(os.path.normpath(root)):
                    raise UserError(f"{where}: {path!r} is outside of {printable(root)}")
                if not file.is_file():
                    raise UserError(f"{where}: {printable(file)} is not a file")
                paths.append(file)
                names.append(name)
        if not paths:
            raise UserError(f"{printable(table)} has no rows")
        return paths, names


@TASK_DATA.register("masks")
class MaskFolders:
    """A folder of images and one of masks with a class for every pixel."""

    @dataclass(kw_only=True)
    class Config(TaskDataConfig):
        """The folders and what the masks hold."""

        images: Annotated[str, "folder of images, also in sub-folders"] = ""
        masks: Annotated[str, "folder of masks, with the same sub-folders and names"] = ""
        image_suffix: Annotated[str, "end of an image's name that its mask's has not"] = ""
        mask_suffix: Annotated[str, "end of a mask's name that its image's has not"] = ""
        classes: Annotated[list[str] | str, "names in order, or a known set: cityscapes"] = field(
            default_factory=list
        )
        encoding: Annotated[
            Literal["index", "colors", "cityscapes_ids"],
            "what a pixel holds: its class, a colour of `colors`, or one of Cityscapes' 34 ids",
        ] = "index"
        colors: Annotated[
            list[tuple[int, int, int]], "of the classes, in order; empty: those of the known set"
        ] = field(default_factory=list)
        void: Annotated[list[int], "numbers of an index mask that do not count"] = field(
            default_factory=lambda: [255]
        )
        unknown: Annotated[
            Literal["refuse", "ignore"], "numbers and colours that stand for nothing"
        ] = "refuse"

    def __init__(self, config: Config):
        self.config = config

    def load(self) -> TaskData:
        """Match images with masks by name.

        Raises:
            UserError: an image has no mask; the message says how many and which first.
        """
        config = self.config
        classes = class_names(config.classes)
        roots = _folder(config.images, "images"), _folder(config.masks, "masks")
        images = _images_below(roots[0], "images")
        ids = _ids(images, roots[0], config.image_suffix)
        masks = list_images(roots[1], recursive=True)
        masks = [path for path in masks if path.stem.endswith(config.mask_suffix)]
        by_id = dict(zip(_ids(masks, roots[1], config.mask_suffix), masks, strict=True))
        alone = [name for name in ids if name not in by_id]
        if alone:
            near = nearest(alone[0], list(by_id)[:2000])
            raise UserError(
                f"{len(alone)} of {len(ids)} images of {printable(roots[0])} have no mask in "
                f"{printable(roots[1])}, first {printable(alone[0])}.{near}"
            )
        read = MaskReader(
            len(classes),
            config.encoding,
            colors=config.colors,
            known=config.classes if isinstance(config.classes, str) else None,
            void=config.void,
            refuse=config.unknown == "refuse",
        )
        data = TaskData(
            "segmentation",
            classes,
            tuple(ids),
            _reader(images),
            lambda i: read(by_id[ids[i]]),
            tuple(images),
        )
        return prepared(data, config)
