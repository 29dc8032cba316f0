"""Masks: files that hold a class for every pixel, as numbers or as colours."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from eval.tasks.scores import IGNORE
from zoo.data import _cityscapes
from zoo.images import MAX_PIXELS, UnreadableImage, printable, read_image
from zoo.registry import UserError, nearest


class KnownClasses(NamedTuple):
    """Classes of a published data set, by the number that a network learns."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ids: tuple[int, ...]  # in its files of labels


CITYSCAPES_IDS = 35  # -1 is stored as 255, the licence plate; 34 is GTA5's largest
# The 19 classes that Cityscapes is scored on; its other ids do not count (Cordts et al. 2016).
# GTA5's labels hold the same ids and colours.
KNOWN = {
    "cityscapes": KnownClasses(
        names=tuple(name for name, _, _ in _cityscapes.CLASSES),
        colors=tuple(color for _, _, color in _cityscapes.CLASSES),
        ids=tuple(label_id for _, label_id, _ in _cityscapes.CLASSES),
    )
}


def class_names(classes: Sequence[str] | str) -> tuple[str, ...]:
    """Names of classes, from a list or from the name of a known set.

    Raises:
        UserError: fewer than 2, more than 255, one twice, or no such set.
    """
    if isinstance(classes, str):
        if classes not in KNOWN:
            raise UserError(
                f"classes {classes!r} is no known set.{nearest(classes, KNOWN)} "
                f"Known: {', '.join(KNOWN)}; or list the names"
            )
        return KNOWN[classes].names
    if not 2 <= len(classes) <= IGNORE or len(set(classes)) < len(classes):
        raise UserError(
            f"classes names {len(classes)}; 2 to {IGNORE} different ones are needed, in the order "
            f"of their numbers"
        )
    return tuple(classes)


def read_index_mask(path: Path) -> np.ndarray:
    """The numbers of a mask's pixels, uint8 H W: grey levels, or indices of a palette.

    Raises:
        UnreadableImage: it is no image with one 8-bit number a pixel, or too large.
    """
    try:
        if not path.is_file():
            raise UnreadableImage(path, "not a regular file")
        with Image.open(path, formats=("PNG", "GIF", "BMP", "TIFF")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(path, f"more than {MAX_PIXELS} pixels")
            if image.mode not in ("L", "P", "1"):
                raise UnreadableImage(
                    path, f"a mask of mode {image.mode}; numbers need one 8-bit channel"
                )
            return np.array(image).astype(np.uint8)  # black and white become 0 and 1
    except UnreadableImage:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImage(path, printable(str(error))) from error


class MaskReader:
    """Reads masks as uint8 H W classes, 255 where a pixel does not count.

    Args:
        num_classes: number of classes.
        encoding: "index", "colors" or "cityscapes_ids".
        colors: of the classes, for "colors"; empty: those of `known`.
        known: name of a known set, or None.
        void: numbers of an index mask that do not count.
        refuse: whether what stands for nothing is an error instead of not counting.

    Raises:
        UserError: colours are missing, or another number of them than of classes.
    """

    def __init__(
        self,
        num_classes: int,
        encoding: str,
        *,
        colors: Sequence[tuple[int, int, int]] = (),
        known: str | None = None,
        void: Sequence[int] = (IGNORE,),
        refuse: bool = True,
    ):
        self.encoding, self.refuse = encoding, refuse
        self.numbers = np.full(256, IGNORE, np.uint8)
        self.meant = np.zeros(256, bool)  # numbers that stand for a class, or for void
        if encoding == "cityscapes_ids":
            self.numbers[list(KNOWN["cityscapes"].ids)] = np.arange(num_classes)
            self.meant[:CITYSCAPES_IDS] = self.meant[255] = True
        elif encoding == "index":
            self.numbers[:num_classes] = np.arange(num_classes)
            self.numbers[list(void)] = IGNORE
            self.meant[[*range(num_classes), *void]] = True
        else:
            chosen = list(colors) or (list(KNOWN[known].colors) if known else [])
            if len(chosen) != num_classes or len(set(chosen)) < num_classes:
                raise UserError(
                    f"colors has {len(chosen)} entries for {num_classes} classes; each class "
                    f"needs one of its own"
                )
            self.colors = np.array([_code(np.array(color)) for color in chosen])

    def __call__(self, path: Path) -> np.ndarray:
        """Read one mask.

        Raises:
            UserError: it cannot be read, or holds what stands for nothing and `refuse` is set.
        """
        if self.encoding == "colors":
            return self._from_colors(path)
        raw = read_index_mask(path)
        if self.refuse and not self.meant[raw].all():
            bad = int(raw[~self.meant[raw]][0])
            raise UserError(
                f"{printable(path)}: {int((raw == bad).sum())} pixels have the number {bad}, "
                f"which is no class; name it in void, check the encoding, or set unknown: ignore"
            )
        return self.numbers[raw]

    def _from_colors(self, path: Path) -> np.ndarray:
        codes = _code(read_image(path).astype(np.int32))
        order = np.argsort(self.colors)
        place = np.searchsorted(self.colors, codes, sorter=order).clip(max=len(order) - 1)
        found = order[place].astype(np.uint8)
        other = self.colors[found] != codes
        if self.refuse and other.any():
            code = int(codes[other][0])
            color = [code >> 16, code >> 8 & 255, code & 255]
            raise UserError(
                f"{printable(path)}: {int((codes == code).sum())} pixels have the colour {color}, "
                f"which is no class; add it to colors, or set unknown: ignore"
            )
        found[other] = IGNORE
        return found


def _code(rgb: np.ndarray) -> np.ndarray:
    return (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
