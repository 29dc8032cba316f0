"""Paired images, in either of two layouts.

Side by side: root/train and root/test hold files whose left half belongs to A, the right one to B
(or the other way round). Apart: trainA/x.jpg belongs to trainB/x.png, as their stems are equal.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from zoo.data._files import (
    FolderConfig,
    Half,
    ImageFile,
    ImageFiles,
    ImageFolders,
)
from zoo.data._find import contents, find_folder, images_in
from zoo.images import ImageError, UnreadableImage, printable
from zoo.registry import DATASETS, UserError

_OTHER = {"a": "b", "b": "a"}


@DATASETS.register("paired")
class PairedFolders(ImageFolders):
    """Paired images: side by side in train and test, or equal stems in trainA and trainB."""

    paired = True

    @dataclass(kw_only=True)
    class Config(FolderConfig):
        """As for every data set in folders, and which half is A."""

        sides: Annotated[Literal["ab", "ba"], "of files side by side; ab: A is the left half"] = (
            "ab"
        )

    def __init__(self, config: Config):
        """Find the folders; files are looked at when a domain is asked for.

        Raises:
            UserError: the root or its folders are not there, or both layouts are.
        """
        super().__init__(config)
        self._halves: tuple[Half, Half] = (
            ("left", "right") if config.sides == "ab" else ("right", "left")
        )
        # One folder of files side by side, or two folders.
        self._folders = {split: self._find(split) for split in ("train", "test")}
        if not any(self._folders.values()):
            raise self._wrong("train and test (side by side), or trainA, trainB, testA, testB")

    def _find(self, split: str) -> list[Path]:
        joint = find_folder(self.root, split)
        apart = [find_folder(self.root, f"{split}{side}") for side in "AB"]
        found = [folder for folder in apart if folder]
        if joint and found:
            raise self._wrong(f"either {split} (side by side) or {split}A and {split}B")
        if len(found) == 1:
            raise self._wrong(f"both of {split}A and {split}B")
        if found and self._halves[0] == "right":
            raise UserError(
                f"data.sides is for files side by side, but {printable(self.root)} holds "
                f"{split}A and {split}B; leave it out"
            )
        return [joint] if joint else found

    def domain(self, split: str, side: str) -> ImageFiles:
        """Return the images of one side; image i of A belongs to image i of B.

        Args:
            split: "train" or "test"; training images have the load size, test images the size.
            side: "a" or "b".

        Raises:
            UserError: folders are missing or empty, files are refused, or stems are ambiguous.
        """
        if (split, side) not in self._domains:
            folders = self._folders[split]
            if not folders:
                raise self._wrong(f"{split} (side by side), or {split}A and {split}B")
            pairs, known = self._side_by_side(*folders) if len(folders) == 1 else _match(*folders)
            readers = [self._reader(split, "a"), self._reader(split, "b")]
            where = " and ".join(printable(folder) for folder in folders)
            a, b = self._check(pairs, readers, where, known)
            self._domains |= {(split, "a"): a, (split, "b"): b}
        return self._domains[split, side]

    def truth(self, side: str) -> ImageFiles:
        """Return the counterparts, in the other domain, of the test images of a side."""
        return self.domain("test", _OTHER[side])

    def _side_by_side(
        self, folder: Path
    ) -> tuple[list[tuple[ImageFile, ImageFile]], list[ImageError]]:
        a, b = self._halves
        return [(ImageFile(path, a), ImageFile(path, b)) for path in images_in(folder)], []

    def _wrong(self, wanted: str) -> UserError:
        return UserError(
            f"data.root {printable(self.root)}: looked for {wanted}; "
            f"there is: {contents(self.root)}"
        )


def _match(a: Path, b: Path) -> tuple[list[tuple[ImageFile, ImageFile]], list[ImageError]]:
    """Pair the files of two folders by stem; files without a counterpart are problems."""
    stems_a, stems_b = _by_stem(a), _by_stem(b)
    pairs = [
        (ImageFile(path), ImageFile(stems_b[stem]))
        for stem, path in stems_a.items()
        if stem in stems_b
    ]
    alone: list[ImageError] = [
        UnreadableImage(path, f"no file in {printable(other.name)} has the same stem")
        for stems, others, other in ((stems_a, stems_b, b), (stems_b, stems_a, a))
        for stem, path in stems.items()
        if stem not in others
    ]
    return pairs, alone


def _by_stem(folder: Path) -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for path in images_in(folder):
        if path.stem in stems:
            raise UserError(
                f"{printable(folder)}: {printable(stems[path.stem].name)} and "
                f"{printable(path.name)} have the same stem, so their pair is ambiguous; remove one"
            )
        stems[path.stem] = path
    return stems
