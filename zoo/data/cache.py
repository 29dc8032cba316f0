"""Images decoded or drawn once, on disk and mapped into memory by every run that needs them.

One file holds the images of one domain. Its name is a hash of all that decides its pixels: the
bytes of the image files (sizes and times lie after `cp -p`, `rsync` and `tar`, and are new after
every copy to a local disk), the settings, Zoo's own code and Pillow's decoders. A file is complete
or absent: it is written under another name, flushed to disk and renamed. Who maps a file holds a
shared lock on it, who writes or deletes one an exclusive lock; the system releases the locks of
processes that were killed. Whatever goes wrong with the cache costs time and never a run.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import math
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
from PIL import features

from zoo.images import printable
from zoo.schema import DataConfig

logger = logging.getLogger("zoo.data")

FOLDER_VARIABLE = "ZOO_CACHE"
_DONE, _UNFINISHED = ".zoo-images", ".zoo-unfinished"
_MAGIC = b"zooimgs1"
_FOOTER = struct.Struct("<Q32s8s")  # length of the index, its SHA-256, magic; at the file's end
_ROOM_BYTES = 2**26
_POLL_SECONDS = 0.1


class Unusable(Exception):
    """Why images are not kept on disk, in a few words."""


def cache_folder() -> Path:
    """The folder of `data.cache.folder: auto`: $ZOO_CACHE, else ~/.cache/zoo/images."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "zoo" / "images"


def cache_of(config: DataConfig) -> "ImageCache | None":
    """The cache that a recipe asks for, None if it asks for no files."""
    if isinstance(config.cache, str):
        return None
    folder = config.cache.folder
    return ImageCache(
        cache_folder() if folder == "auto" else Path(folder).expanduser(),
        int(config.cache.most_gib * 2**30),
    )


def content_key(code: Sequence[Path], content: Mapping[str, Any]) -> str:
    """The name of a file: a hash of everything that its pixels depend on.

    Args:
        code: the source files that make the images; a change of them makes new files.
        content: what they make images from, as JSON can hold it.
    """
    made_by = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in code}
    text = json.dumps([_MAGIC.decode(), made_by, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.cache
def decoder_versions() -> dict[str, str]:
    """The versions of Pillow and of its lossy decoders, which may differ in the last bit."""
    libraries = ("jpg", "webp", "libtiff")
    found = {name: str(features.version(name)) for name in libraries}
    return {"Pillow": PIL.__version__, **found}


class StoredImages:
    """The images of one file, mapped: they take memory only as far as the system has it to spare.

    While the object lives, in this process or in workers forked from it, the file is not deleted.

    Attributes:
        path: the file.
        note: what its writer wrote beside the images.
    """

    def __init__(self, descriptor: int, path: Path):
        """Map an open file that is locked. Raises `ValueError` if it is not what it should be."""
        self.path = path
        # The map has a descriptor of its own, of the same opening, hence with the same lock.
        self._bytes = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)  # an empty file: ValueError
        index, end = _read_index(self._bytes, len(self._bytes))
        self.note: dict[str, Any] = index["note"]
        self._shapes = [tuple(shape) for shape in index["shapes"]]
        self._starts = [0, *accumulate(math.prod(shape) for shape in self._shapes)]
        if self._starts[-1] != end:
            raise ValueError("images are missing")

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return one image, uint8 H W C, not to be written to."""
        index = range(len(self))[index]
        start, shape = self._starts[index], self._shapes[index]
        return np.frombuffer(self._bytes, np.uint8, self._starts[index + 1] - start, start).reshape(
            shape
        )

    def __reduce__(self) -> tuple:
        """Sent to another process by name."""
        return _open_again, (self.path,)


def _read_index(stream: BinaryIO | mmap.mmap, length: int) -> tuple[dict[str, Any], int]:
    """The index at the end of a file of `length` bytes, and where the images end before it."""
    if length < _FOOTER.size:
        raise ValueError("too short")
    stream.seek(length - _FOOTER.size)
    index_length, digest, magic = _FOOTER.unpack(stream.read(_FOOTER.size))
    end = length - _FOOTER.size - index_length
    if magic != _MAGIC or end < 0:
        raise ValueError("its end is missing")
    stream.seek(end)
    index = stream.read(index_length)
    if hashlib.sha256(index).digest() != digest:
        raise ValueError("its index is not what was written")
    return json.loads(index), end


def _open_again(path: Path) -> StoredImages:
    stored = _open(path)
    if stored is None:
        raise FileNotFoundError(f"{printable(path)} is not there any more")
    return stored


Make = Callable[[Callable[[np.ndarray], None]], dict[str, Any]]


class ImageCache:
    """A folder of such files, kept below a size.

    Args:
        folder: made when something is written.
        most_bytes: of all files together; those least recently used are deleted first.
    """

    def __init__(self, folder: Path, most_bytes: int):
        self.folder, self.most_bytes = folder, most_bytes

    def get(
        self,
        key: str,
        what: str,
        nbytes: int,
        make: Make | None,
        anew: bool = False,
    ) -> StoredImages | None:
        """The images of a key; made by the first process that asks while the others wait.

        Args:
            key: of `content_key`.
            what: the images in words, for the log and the list of files.
            nbytes: that the images will take, or fewer if that is not known.
            make: calls its argument with every image in turn and returns a note for `note`, which
                JSON can hold; it may raise `Unusable`. None: only look.
            anew: replace the file that is there.

        Returns:
            None if they are not there and cannot be kept; a warning has said why, once.
        """
        path = self.folder / f"{key}{_DONE}"
        waiting = False
        try:
            while True:
                stored = None if anew else _open(path)
                if stored is not None or make is None:
                    return stored
                self.folder.mkdir(parents=True, exist_ok=True)
                with _only_writer(path.with_suffix(_UNFINISHED)) as descriptor:
                    if descriptor is not None:
                        # Another process may have finished since we looked.
                        stored = None if anew else _open(path)
                        if stored is None:
                            return self._make(descriptor, path, what, nbytes, make)
                        path.with_suffix(_UNFINISHED).unlink()
                        return stored
                if not waiting:
                    logger.info("%s: another process is preparing the images, waiting", what)
                waiting, anew = True, False
                time.sleep(_POLL_SECONDS)
        except Unusable as error:
            _warn_once(f"{what}: not kept in {printable(self.folder)}: {error}")
        except OSError as error:
            _warn_once(f"{printable(self.folder)}: nothing is kept there: {error.strerror}")
        return None

    def _make(
        self, descriptor: int, path: Path, what: str, nbytes: int, make: Make
    ) -> StoredImages:
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            os.ftruncate(descriptor, 0)  # what a killed writer left
            room = self._make_room(nbytes, unfinished)
            with os.fdopen(descriptor, "wb", closefd=False) as stream:
                shapes: list[tuple[int, ...]] = []

                def add(image: np.ndarray) -> None:
                    nonlocal room
                    end = stream.tell() + image.nbytes
                    if end > room:
                        room = self._make_room(end, unfinished)
                    stream.write(np.ascontiguousarray(image).data)
                    shapes.append(image.shape)

                note = make(add)
                index = json.dumps({"what": what, "note": note, "shapes": shapes}).encode()
                digest = hashlib.sha256(index).digest()
                stream.write(index + _FOOTER.pack(len(index), digest, _MAGIC))
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return StoredImages(descriptor, path)

    def _make_room(self, nbytes: int, own: Path) -> int:
        """Delete others until `nbytes` and a bit more fit; how many bytes fit then.

        Raises:
            Unusable: `nbytes` do not fit, even though nothing is left but what is in use.
        """
        if nbytes > self.most_bytes:
            raise Unusable(self._too_much(""))
        wanted = nbytes + min(_ROOM_BYTES, self.most_bytes // 64)  # to look at the folder seldom
        others = [entry for entry in entries(self.folder) if entry.path != own]
        total = sum(entry.nbytes for entry in others)
        for entry in others:
            if (entry.finished and total + wanted <= self.most_bytes) or not delete(entry.path):
                continue
            total -= entry.nbytes
        room = min(wanted, self.most_bytes - total)
        if nbytes > room:
            raise Unusable(self._too_much(f", of which {total / 2**30:.2g} GiB are in use"))
        return room

    def _too_much(self, more: str) -> str:
        return f"more than the {self.most_bytes / 2**30:.3g} GiB of data.cache.most_gib{more}"


@dataclass(frozen=True)
class Entry:
    """One file of a cache: its path, what it holds, its size, when it was last used."""

    path: Path
    what: str
    nbytes: int
    last_used: float  # seconds since 1970

    @property
    def last_day(self) -> str:
        """The day of its last use, 2026-01-31."""
        return date.fromtimestamp(self.last_used).isoformat()

    @property
    def finished(self) -> bool:
        """Whether it is complete; else it is being written, or its writer was killed."""
        return self.path.suffix == _DONE


def entries(folder: Path) -> list[Entry]:
    """The files of a cache, the least recently used first."""
    found = []
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.suffix in (_DONE, _UNFINISHED):
            with contextlib.suppress(FileNotFoundError):  # deleted by another process just now
                status = path.stat()
                found.append(Entry(path, _what(path), status.st_size, status.st_mtime))
    return sorted(found, key=lambda entry: entry.last_used)


def delete(path: Path) -> bool:
    """Delete a file of a cache unless a process uses it; whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    except PermissionError:  # somebody else's, in a common folder
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _what(path: Path) -> str:
    """What a file holds, in words; touches neither its lock nor the time of its last use."""
    if path.suffix == _UNFINISHED:
        return "unfinished"
    try:
        with path.open("rb") as stream:
            return _read_index(stream, os.fstat(stream.fileno()).st_size)[0]["what"]
    except (OSError, ValueError):
        return "not readable"


def _open(path: Path) -> StoredImages | None:
    """Map a finished file and note its use; None without one, or if it is damaged."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        stored = StoredImages(descriptor, path)
        with contextlib.suppress(OSError):  # of somebody else: used without a note
            os.utime(path)
        return stored
    except ValueError as error:
        _warn_once(f"{printable(path)} is damaged ({error}) and is made anew")
        return None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _only_writer(unfinished: Path) -> Iterator[int | None]:
    """An open file that no other process writes or deletes; None while one does."""
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield descriptor if _locked(descriptor, unfinished) else None
    finally:
        os.close(descriptor)


def _locked(descriptor: int, path: Path) -> bool:
    """Lock an open file; False if another process has, or has renamed or deleted it meanwhile."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except (BlockingIOError, FileNotFoundError):
        return False


@functools.cache
def _warn_once(message: str) -> None:
    """Warn once in a process."""
    logger.warning("%s", message)
