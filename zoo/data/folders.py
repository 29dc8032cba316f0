"""Unpaired images in folders trainA, trainB, testA, testB, as published data sets have them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from zoo.data._files import (
    FolderConfig,
    ImageFile,
    ImageFiles,
    ImageFolders,
)
from zoo.data._find import contents, find_folder, images_in
from zoo.images import printable
from zoo.registry import DATASETS, UserError


@DATASETS.register("unpaired")
class UnpairedFolders(ImageFolders):
    """Unpaired images in the folders trainA, trainB, testA, testB."""

    paired = False

    @dataclass(kw_only=True)
    class Config(FolderConfig):
        """As for every data set in folders, and which of them domain a has."""

        sides: Annotated[
            Literal["ab", "ba"], "ab: domain a is in trainA and testA; ba: in trainB and testB"
        ] = "ab"

    def __init__(self, config: Config):
        """Find the folders; files are looked at when a domain is asked for.

        Raises:
            UserError: the root or the folders of a split are not there.
        """
        super().__init__(config)
        letters = dict(zip(config.sides, "AB", strict=True))
        self._folders = {
            (split, side): find_folder(self.root, f"{split}{letters[side]}")
            for split in ("train", "test")
            for side in "ab"
        }
        for split in ("train", "test"):
            present = [letters[side] for side in "ab" if self._folders[split, side]]
            if len(present) == 1:
                other = "B" if present == ["A"] else "A"
                raise self._missing(f"{split}{other}, as there is {split}{present[0]}")
        if not any(self._folders.values()):
            raise self._missing("trainA, trainB, testA and testB")

    def domain(self, split: str, side: str) -> ImageFiles:
        """Return the images of one side, every one of them checked.

        Args:
            split: "train" or "test"; training images have the load size, test images the size.
            side: "a" or "b".

        Raises:
            UserError: the folder is missing or empty, or its files are refused.
        """
        key = (split, side)
        if key not in self._domains:
            folder = self._folders[key]
            if folder is None:
                raise self._missing(f"{split}A and {split}B")
            groups = [(ImageFile(path),) for path in images_in(folder)]
            (self._domains[key],) = self._check(
                groups, [self._reader(split, side)], printable(folder)
            )
        return self._domains[key]

    def truth(self, side: str) -> None:
        """Return None: no counterparts are known."""
        return

    def _missing(self, wanted: str) -> UserError:
        return UserError(
            f"data.root {printable(self.root)}: looked for folders {wanted}; "
            f"there is: {contents(self.root)}"
        )
