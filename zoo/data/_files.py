"""What the data sets in folders share: checking every file once, keeping decoded images.

Every file is decoded when a split is first asked for, unless the cache still has the images, so
that a bad one is reported before training and not hours into it. Bad files are skipped with one
warning each and counted; dangerous ones, and with `strict` all of them, are one error that lists
them.
"""

import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from PIL import Image

from zoo.data._find import existing_root
from zoo.data.cache import (
    ImageCache,
    StoredImages,
    Unusable,
    cache_of,
    content_key,
    decoder_versions,
)
from zoo.data.transforms import center, resize_short_side
from zoo.images import (
    MAX_PIXELS,
    DangerousImage,
    ImageError,
    UnreadableImage,
    printable,
    read_image,
    resize,
)
from zoo.registry import UserError
from zoo.schema import DataConfig

logger = logging.getLogger("zoo.data")

Half = Literal["left", "right"]
MEMORY_BYTES = 2 * 2**30  # of decoded images kept where the cache on disk cannot be used
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


@dataclass(frozen=True)
class _Member:
    """The images of one member of every group, out of a file that holds groups one by one."""

    stored: StoredImages
    member: int
    members: int

    def __getitem__(self, index: int) -> np.ndarray:
        return self.stored[index * self.members + self.member]


class ImageFiles:
    """One side of one split: files that were all decoded once, in the order of their names.

    Attributes:
        paths: the files.
        names: their names without the folder, escaped where they are not printable.
        nbytes: memory that the kept images take; those on disk take none.
        kept: whether images need not be decoded any more.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        reader: Reader,
        images: Sequence[np.ndarray] | _Member | None,
    ):
        self.paths = [file.path for file in files]
        self.names = [printable(file.path.name) for file in files]
        self.kept = images is not None
        in_memory = [] if images is None or isinstance(images, _Member) else images
        self.nbytes = sum(image.nbytes for image in in_memory)
        for image in in_memory:
            image.flags.writeable = False
        self._files, self._reader, self._images = files, reader, images

    def __len__(self) -> int:
        """Return the number of usable files."""
        return len(self._files)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 H W C, not to be written to."""
        index = range(len(self))[index]
        return self._reader(self._files[index]) if self._images is None else self._images[index]


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
        groups: Sequence["Group"],
        readers: Sequence[Reader],
        where: str,
        known: Sequence[ImageError] = (),
    ) -> tuple[ImageFiles, ...]:
        """Check groups of files under the config's rules; see `check_files`."""
        cache, kept = self.config.cache, sum(domain.nbytes for domain in self._domains.values())
        in_memory = {"off": 0, "memory": None}
        keep_bytes = in_memory[cache] if isinstance(cache, str) else MEMORY_BYTES - kept
        return check_files(
            groups,
            readers,
            where,
            strict=self.config.strict,
            cache=cache_of(self.config),
            keep_bytes=keep_bytes,
            known=known,
        )


Group = tuple[ImageFile, ...]


class _Checked(NamedTuple):
    """What decoding gave: numbers of good groups, what is wrong with the others, kept images."""

    good: list[int]
    problems: list[ImageError]
    images: Sequence[Sequence[np.ndarray] | _Member] | None  # one entry for each member


def check_files(
    groups: Sequence[Group],
    readers: Sequence[Reader],
    where: str,
    *,
    strict: bool,
    cache: ImageCache | None,
    keep_bytes: int | None,
    known: Sequence[ImageError] = (),
) -> tuple[ImageFiles, ...]:
    """Decode every group of files; a group with a bad file is left out whole.

    Args:
        groups: files that belong together: one, or the two of a pair.
        readers: one for each file of a group.
        where: the folders, for messages.
        strict: bad files are an error.
        cache: keeps the images on disk.
        keep_bytes: images that are not on disk are kept in memory unless they need more than this;
            None: always.
        known: files already known to be bad, which are reported with the others.

    Returns:
        The files of the groups' first members, of their second members, …

    Raises:
        UserError: files are dangerous, or bad and `strict`, or none is left.
    """
    checked = _from_cache(groups, readers, where, cache) if cache else None
    if checked is None:
        checked = _decoded(groups, readers, where, keep_bytes)
    units = "files" if len(readers) == 1 else "pairs"
    _report([*known, *checked.problems], len(checked.good), units, where, strict)
    return tuple(
        ImageFiles(
            [groups[number][member] for number in checked.good],
            reader,
            checked.images[member] if checked.images is not None else None,
        )
        for member, reader in enumerate(readers)
    )


def _decoded(
    groups: Sequence[Group], readers: Sequence[Reader], where: str, keep_bytes: int | None
) -> _Checked:
    good: list[int] = []
    problems: list[ImageError] = []
    images: list[list[np.ndarray]] | None = [] if keep_bytes != 0 else None
    nbytes = 0
    for number, result in enumerate(_in_threads(_group_reader(readers), groups)):
        if isinstance(result, ImageError):
            problems.append(result)
            continue
        good.append(number)
        nbytes += sum(image.nbytes for image in result)
        if keep_bytes is not None and nbytes > keep_bytes:
            images = None
        if images is not None:
            images.append(result)
    if images is None and keep_bytes != 0:
        logger.info("%s: too large for the memory, images are decoded whenever needed", where)
    by_member = [[group[m] for group in images] for m in range(len(readers))] if images else None
    return _Checked(good, problems, by_member)


def _from_cache(
    groups: Sequence[Group], readers: Sequence[Reader], where: str, cache: ImageCache
) -> _Checked | None:
    """The images of the cache, put there by this call if need be; None if it cannot keep them."""
    read, key = _group_reader(readers), _key(groups, readers)

    def make(add: Callable[[np.ndarray], None]) -> dict[str, list[int]]:
        left_out = []
        for number, result in enumerate(_in_threads(read, groups)):
            if isinstance(result, ImageError):
                left_out.append(number)
            else:
                for image in result:
                    add(image)
        if _key(groups, readers) != key:
            raise Unusable("image files changed while they were read")
        return {"left_out": left_out}

    what = f"{where}, {readers[0].size} px"
    nbytes = len(groups) * sum(reader.size**2 * reader.channels for reader in readers)
    for anew in (False, True):
        stored = cache.get(key, what, nbytes, make, anew)
        if stored is None:
            return None
        left_out = stored.note["left_out"]
        again = [read(groups[number]) for number in left_out]
        problems = [result for result in again if isinstance(result, ImageError)]
        # What was bad for a passing reason, such as a disk error, is good when it is read again.
        if len(problems) == len(left_out):
            bad = set(left_out)
            good = [number for number in range(len(groups)) if number not in bad]
            members = [_Member(stored, m, len(readers)) for m in range(len(readers))]
            return _Checked(good, problems, members)
    return None


def _key(groups: Sequence[Group], readers: Sequence[Reader]) -> str:
    paths = list(dict.fromkeys(file.path for group in groups for file in group))
    digests = dict(zip(paths, _in_threads(_digest, paths), strict=True))
    content = {
        "files": [[(digests[file.path], file.half) for file in group] for group in groups],
        "readers": [asdict(reader) for reader in readers],
        "decoders": decoder_versions(),
    }
    here = Path(__file__)
    return content_key(
        [here, here.with_name("transforms.py"), here.parents[1] / "images.py"], content
    )


def _digest(path: Path) -> str:
    """SHA-256 of a file; what cannot be read, or opened without waiting, is told by its name."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "not a file"
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"error {error.errno}"


def _group_reader(
    readers: Sequence[Reader],
) -> Callable[[Group], list[np.ndarray] | ImageError]:
    def read(group: Group) -> list[np.ndarray] | ImageError:
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
