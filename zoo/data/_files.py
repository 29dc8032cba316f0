"""What the data sets in folders share: finding folders, checking every file once, keeping images.

Every file is decoded once when a split is first asked for, so that a bad one is reported before
training and not hours into it. Bad files are skipped with one warning each and counted; dangerous
ones, and with `strict` all of them, are one error that lists them.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image

from zoo.data.transforms import center, resize_short_side
from zoo.images import (
    MAX_PIXELS,
    DangerousImage,
    ImageError,
    UnreadableImage,
    list_images,
    printable,
    read_image,
    resize,
)
from zoo.registry import UserError, nearest
from zoo.schema import DataConfig

logger = logging.getLogger("zoo.data")

Half = Literal["left", "right"]
MEMORY_BYTES = 2 * 2**30  # of decoded images that `cache: auto` keeps
MAX_ASPECT = 16  # beyond it a strip of pixels becomes a huge image when its short side grows


@dataclass(kw_only=True)
class FolderConfig(DataConfig):
    """Fields of every data set read from folders."""

    root: Annotated[str, "folder that holds the data set; relative to the working directory"] = ""
    resize: Annotated[
        Literal["square", "short_side"],
        "square: to load_size x load_size, as published; short_side: keep the proportions",
    ] = "square"
    strict: Annotated[bool, "a file that cannot be read is an error, not a warning"] = False
    max_pixels: Annotated[int, "width x height from which a file is refused undecoded"] = MAX_PIXELS
    cache: Annotated[
        Literal["auto", "memory", "none"],
        "decoded images kept in memory; auto: while they stay below 2 GiB",
    ] = "auto"

    def __post_init__(self):
        super().__post_init__()
        most = Image.MAX_IMAGE_PIXELS
        if self.max_pixels < 1 or (most and self.max_pixels > most):
            raise UserError(f"data.max_pixels is {self.max_pixels}; 1 to {most} are possible")


@dataclass(frozen=True)
class ImageFile:
    """A file, or one half of a file that holds a pair side by side."""

    path: Path
    half: Half | None = None


@dataclass(frozen=True)
class Reader:
    """Decodes an `ImageFile` to the size a split has.

    Attributes:
        size: load size for training, the networks' size for tests.
        channels: 1 or 3.
        fit: "square" and "short_side" as in the config; "center" for the test images of the latter.
        max_pixels: see `read_image`.
    """

    size: int
    channels: int
    fit: Literal["square", "short_side", "center"]
    max_pixels: int

    def __call__(self, file: ImageFile) -> np.ndarray:
        """Return uint8 H W C; raise `ImageError`."""
        image = read_image(file.path, self.channels, self.max_pixels)
        if file.half:
            image = _half(file, image)
        if self.fit == "square":
            return resize(image, self.size)
        if self.fit == "center":
            return center(image, self.size)
        if max(image.shape[:2]) > MAX_ASPECT * min(image.shape[:2]):
            height, width = image.shape[:2]
            raise UnreadableImage(
                file.path,
                f"{width} x {height} is longer than {MAX_ASPECT}:1, too long for resize: "
                f"short_side",
            )
        return resize_short_side(image, self.size)


def _half(file: ImageFile, image: np.ndarray) -> np.ndarray:
    width = image.shape[1] // 2  # of an odd number of columns the middle one belongs to neither
    if width == 0:
        raise UnreadableImage(file.path, "one pixel wide, hence not a pair side by side")
    return image[:, :width] if file.half == "left" else image[:, -width:]


class ImageFiles:
    """One side of one split: files that were all decoded once, in the order of their names.

    Attributes:
        paths: the files.
        names: their names without the folder, escaped where they are not printable.
        nbytes: memory that the kept images take.
    """

    def __init__(
        self, files: Sequence[ImageFile], reader: Reader, images: Sequence[np.ndarray] | None
    ):
        self.paths = [file.path for file in files]
        self.names = [printable(file.path.name) for file in files]
        self.nbytes = sum(image.nbytes for image in images or ())
        self._files, self._reader, self._images = files, reader, images

    def __len__(self) -> int:
        """Return the number of usable files."""
        return len(self._files)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 H W C, the caller's own."""
        if self._images is None:
            return self._reader(self._files[index])
        return self._images[index].copy()


class ImageFolders:
    """Base of the data sets in folders: config, root, one reader per side, memory kept so far."""

    paired: bool

    def __init__(self, config: FolderConfig):
        self.config = config
        self.channels = config.channels
        self.root = existing_root(config.root)
        self._domains: dict[tuple[str, str], ImageFiles] = {}

    def attributes(self, side: str) -> None:
        """Return None: nothing is known of the images but their names."""
        return

    def _reader(self, split: str, side: str) -> Reader:
        train, config = split == "train", self.config
        return Reader(
            size=config.resolved_load_size if train else config.size,
            channels=self.channels["ab".index(side)],
            fit="center" if config.resize == "short_side" and not train else config.resize,
            max_pixels=config.max_pixels,
        )

    def _check(
        self,
        groups: Sequence[tuple[ImageFile, ...]],
        readers: Sequence[Reader],
        where: str,
        known: Sequence[ImageError] = (),
    ) -> tuple[ImageFiles, ...]:
        """Check groups of files under the config's rules; see `check_files`."""
        kept = sum(domain.nbytes for domain in self._domains.values())
        keep_bytes = {"none": 0, "auto": MEMORY_BYTES - kept, "memory": None}[self.config.cache]
        return check_files(
            groups, readers, where, strict=self.config.strict, keep_bytes=keep_bytes, known=known
        )


def check_files(
    groups: Sequence[tuple[ImageFile, ...]],
    readers: Sequence[Reader],
    where: str,
    *,
    strict: bool,
    keep_bytes: int | None,
    known: Sequence[ImageError] = (),
) -> tuple[ImageFiles, ...]:
    """Decode every group of files; a group with a bad file is left out whole.

    Args:
        groups: files that belong together: one, or the two of a pair.
        readers: one for each file of a group.
        where: the folders, for messages.
        strict: bad files are an error.
        keep_bytes: images are kept in memory unless they need more than this; None: always.
        known: files already known to be bad, which are reported with the others.

    Returns:
        The files of the groups' first members, of their second members, …

    Raises:
        UserError: files are dangerous, or bad and `strict`, or none is left.
    """
    good: list[tuple[ImageFile, ...]] = []
    images: list[list[np.ndarray]] | None = [] if keep_bytes != 0 else None
    problems, nbytes = list(known), 0
    for group, result in zip(groups, _in_threads(_group_reader(readers), groups), strict=True):
        if isinstance(result, ImageError):
            problems.append(result)
            continue
        good.append(group)
        nbytes += sum(image.nbytes for image in result)
        if keep_bytes is not None and nbytes > keep_bytes:
            images = None
        if images is not None:
            images.append(result)
    units = "files" if len(readers) == 1 else "pairs"
    _report(problems, len(good), units, where, strict)
    if images is None and keep_bytes != 0:
        logger.info("%s: too large for the memory, images are decoded whenever needed", where)
    return tuple(
        ImageFiles(
            [group[member] for group in good],
            reader,
            [group[member] for group in images] if images is not None else None,
        )
        for member, reader in enumerate(readers)
    )


def _group_reader(
    readers: Sequence[Reader],
) -> Callable[[tuple[ImageFile, ...]], list[np.ndarray] | ImageError]:
    def read(group: tuple[ImageFile, ...]) -> list[np.ndarray] | ImageError:
        try:
            images = [reader(file) for reader, file in zip(readers, group, strict=True)]
        except ImageError as error:
            return error
        sizes = {image.shape[:2] for image in images}
        if len(sizes) > 1:  # one crop has to fit both
            return UnreadableImage(group[0].path, "the two images of the pair differ in shape")
        return images

    return read


def _in_threads(function: Callable, items: Sequence) -> Iterator:
    """Map in order; Pillow decodes and resizes without holding the interpreter's lock."""
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


def _report(
    problems: list[ImageError], num_good: int, units: str, where: str, strict: bool
) -> None:
    total = len(problems) + num_good
    refused = [error for error in problems if strict or isinstance(error, DangerousImage)]
    if refused:
        why = "data.strict is set" if strict else "they are dangerous to decode"
        raise UserError(
            f"{where}: {len(refused)} of {total} {units} are refused, as {why}:\n"
            + "\n".join(f"  {error}" for error in refused)
        )
    for error in problems:
        logger.warning("skipped %s", error)
    if not num_good:
        raise UserError(f"{where}: none of the {total} {units} can be used; first, {problems[0]}")
    if problems:
        logger.warning("%d of %d %s in %s were skipped", len(problems), total, units, where)


def existing_root(root: str) -> Path:
    """Return the data set's folder.

    Raises:
        UserError: it is not set, does not exist (the message has the nearest name) or is no folder.
    """
    if not root:
        raise UserError("data.root is not set; it names the folder that holds the data set")
    folder = Path(root).expanduser()
    try:
        if folder.is_dir():
            next(folder.iterdir(), None)  # a folder that may not be listed fails here
            return folder
        if folder.exists():
            raise UserError(f"data.root {printable(folder)} is not a folder")
        parent = next(parent for parent in folder.parents if parent.is_dir())
        names = [path.name for path in parent.iterdir() if path.is_dir()]
    except OSError as error:
        raise UserError(f"data.root {printable(folder)}: {error.strerror}") from error
    missing = folder.relative_to(parent).parts[0]
    raise UserError(
        f"data.root {printable(folder)} does not exist: there is no {missing!r} in "
        f"{printable(parent.resolve())}.{nearest(missing, names)}"
    )


def find_folder(root: Path, name: str) -> Path | None:
    """Return the sub-folder of that name, in any case; the exact one where there are several.

    Raises:
        UserError: several differ only in case, and none is exact.
    """
    found = [path for path in root.iterdir() if path.name.lower() == name.lower() and path.is_dir()]
    exact = [path for path in found if path.name == name]
    if len(found) > 1 and not exact:
        names = ", ".join(sorted(path.name for path in found))
        raise UserError(f"{printable(root)} holds {names}; rename the one that is meant to {name}")
    return next(iter(exact or found), None)


def images_in(folder: Path) -> list[Path]:
    """List a folder's images.

    Raises:
        UserError: it cannot be listed or holds none; the message says what it holds.
    """
    try:
        paths = list_images(folder)
    except OSError as error:
        raise UserError(f"{printable(folder)} cannot be listed: {error.strerror}") from error
    if not paths:
        raise UserError(
            f"{printable(folder)} holds no images: looked for .jpg .png .webp .bmp .tif .ppm .gif "
            f"in any case, not in sub-folders; there is: {contents(folder)}"
        )
    return paths


def contents(folder: Path) -> str:
    """Describe what a folder holds: `folders trainA, testA; 3 files (2 .heic, 1 .txt)`."""
    entries = sorted(folder.iterdir(), key=os.fsencode)
    folders = [printable(path.name) for path in entries if path.is_dir()]
    files = [path for path in entries if not path.is_dir()]
    parts = []
    if folders:
        more = f" and {len(folders) - 8} more" if len(folders) > 8 else ""
        parts.append(f"folders {', '.join(folders[:8])}{more}")
    if files:
        counts = Counter(path.suffix.lower() or "without extension" for path in files)
        kinds = ", ".join(f"{n} {printable(kind)}" for kind, n in counts.most_common(5))
        hidden = sum(path.name.startswith(".") for path in files)
        shown = kinds + (f"; {hidden} of them hidden" if hidden else "")
        parts.append(f"{len(files)} files ({shown})")
    return "; ".join(parts) or "nothing"
