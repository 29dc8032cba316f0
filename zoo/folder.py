"""A folder of images through a network: threads decode and write while batches are computed.

What comes out does not depend on the batch, and a file that fails takes no other with it.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.images import (
    DangerousImage,
    ImageError,
    UnreadableImage,
    read_image,
    resize,
    write_image,
)
from zoo.registry import UserError

log = logging.getLogger(__name__)

LARGEST_AUTO_BATCH = 32
AUTO_PIXELS = 2**18  # of a batch: 4 images of 256 x 256, whose activations are some 100 MiB
_THREADS = 4  # more do not help: decoding is quicker than any network
_WAITING_BATCHES = 4  # of images of different sizes


@dataclass
class Summary:
    """What a folder's translation did, in the order of the files."""

    written: list[Path] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)

    def skip(self, file: Path, error: ImageError) -> None:
        """Note, and say, why a file is left out."""
        self.skipped[file] = error.reason
        log.warning("skipped %s", error)


class _Loaded(NamedTuple):
    """An image as the network takes it, uint8 H W C, and the height and width of its file."""

    file: Path
    image: np.ndarray
    size: tuple[int, int]


def auto_batch(height: int, width: int) -> int:
    """Images of a size that go through a network together, so that memory stays bounded."""
    return max(1, min(LARGEST_AUTO_BATCH, AUTO_PIXELS // (height * width)))


def translate_files(
    files: dict[Path, Path],
    translate: Callable[[np.ndarray], np.ndarray],
    channels: int,
    *,
    side: int | None,
    batch: int,
) -> Summary:
    """Translate files to PNG files.

    Memory is bounded: at most four batches wait for more images of their size, and one batch, or a
    few images where their sizes are not known, is read ahead and one being written.

    Args:
        files: what to read, and where to write it.
        translate: uint8 N H W C to the same, called in this thread.
        channels: that it takes.
        side: of the square that images are resized to and their results back from; None: every
            image goes through at its own size, with others of that size.
        batch: images translated together; 0: by their size, see `auto_batch`.

    Returns:
        What was written and what was left out, with reasons.

    Raises:
        DangerousImage: never left out.
        OSError: a file cannot be written.
        UserError: the network does not take `side`; another size is left out.
    """
    summary = Summary()

    def read(file: Path) -> _Loaded:
        image = read_image(file, channels)
        return _Loaded(file, image if side is None else resize(image, side), image.shape[:2])

    def write(file: Path, result: np.ndarray, size: tuple[int, int]) -> None:
        write_image(file, result if side is None else resize(result, size))

    ahead = batch or (_THREADS if side is None else auto_batch(side, side))
    written: set[Path] = set()
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        writing: deque[Future] = deque()
        for group in _batches(_readable(pool, read, files, ahead, summary), batch):
            try:
                results = translate(np.stack([loaded.image for loaded in group]))
            except UserError as error:
                if side is not None:
                    raise
                for loaded in group:
                    summary.skip(loaded.file, UnreadableImage(loaded.file, str(error)))
                continue
            for loaded, result in zip(group, results, strict=True):
                writing.append(pool.submit(write, files[loaded.file], result, loaded.size))
                written.add(loaded.file)
            while len(writing) > ahead:
                writing.popleft().result()
        for future in writing:
            future.result()
    summary.written = [target for file, target in files.items() if file in written]
    summary.skipped = {f: summary.skipped[f] for f in files if f in summary.skipped}
    return summary


def _readable(
    pool: ThreadPoolExecutor,
    read: Callable[[Path], _Loaded],
    files: Iterable[Path],
    ahead: int,
    summary: Summary,
) -> Iterator[_Loaded]:
    """The files in order, read ahead, without those that cannot be read."""
    reading: deque[tuple[Path, Future[_Loaded]]] = deque()

    def next_one() -> Iterator[_Loaded]:
        file, future = reading.popleft()
        try:
            yield future.result()
        except UnreadableImage as error:
            summary.skip(file, error)

    try:
        for file in files:
            reading.append((file, pool.submit(read, file)))
            if len(reading) > ahead:
                yield from next_one()
        while reading:
            yield from next_one()
    except DangerousImage:
        for _, future in reading:
            future.cancel()
        raise


def _batches(images: Iterable[_Loaded], batch: int) -> Iterator[list[_Loaded]]:
    """Groups of one size; what does not fill a batch is kept until too much waits, or the end."""
    waiting: dict[tuple[int, ...], list[_Loaded]] = {}

    def filled(shape: tuple[int, ...]) -> float:
        return len(waiting[shape]) / (batch or auto_batch(*shape[:2]))

    for loaded in images:
        shape = loaded.image.shape
        waiting.setdefault(shape, []).append(loaded)
        if filled(shape) >= 1:
            yield waiting.pop(shape)
        elif sum(map(filled, waiting)) >= _WAITING_BATCHES:
            yield waiting.pop(max(waiting, key=filled))
    yield from waiting.values()
