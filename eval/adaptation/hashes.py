"""Which image is which: hashes of pixels, so that a copy is known under any name."""

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from eval.scores import write_whole
from eval.tasks.data import TaskData
from zoo.images import read_image

log = logging.getLogger("eval.adaptation")

_THREADS = 4


def pixel_hash(image: np.ndarray) -> str:
    """Hash of one image's size and pixels, 16 hexadecimal digits."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:16]


class Hashes:
    """Pixel hashes of task data; those of files are kept, so that a file is decoded once.

    Args:
        kept: JSON file; a hash counts as long as size and time of the image file are the same.
    """

    def __init__(self, kept: Path):
        self._path = kept
        self._kept: dict[str, str] = {}
        if kept.is_file():
            try:
                self._kept = json.loads(kept.read_text())
            except ValueError:  # cut short by hand: made anew
                log.warning("%s is not readable and is made anew", kept)

    def native(self, data: TaskData) -> list[str]:
        """One hash an image: of the file's pixels, or where there is no file of the image."""
        if data.files is None:
            return self.at_size(data)
        keys = [_key(path) for path in data.files]
        missing = [i for i, key in enumerate(keys) if key not in self._kept]
        files = data.files
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda i: pixel_hash(read_image(files[i])), missing)
            self._kept |= {keys[i]: digest for i, digest in zip(missing, found, strict=True)}
        if missing:
            write_whole(self._path, json.dumps(self._kept))
        return [self._kept[key] for key in keys]

    def at_size(self, data: TaskData) -> list[str]:
        """One hash an image, of the size that the network sees."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda i: pixel_hash(data.image_of(i)), range(len(data))))


def _key(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
