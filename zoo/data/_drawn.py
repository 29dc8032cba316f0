"""Pictures that are drawn when asked for: kept in memory, and on disk once all are drawn."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.data.cache import ImageCache, Make, StoredImages, content_key

Subject = TypeVar("Subject")  # what is drawn: a face, a street


class Drawings(Generic[Subject]):
    """Images of consecutive subjects in one style, each drawn on first use and kept.

    When the last one is drawn, all go to the cache on disk, from where the next run has them.

    Args:
        subject: the subject of an index.
        render: draws a subject at a size, uint8 H W C.
        size: side in pixels.
        first: index of the first subject.
        count: number of subjects.
        what: the images in words, for the cache's list.
        code: source files that the pixels depend on.
        content: what else they depend on, as JSON can hold it.
        cache: keeps the images on disk.
    """

    kept = True  # a worker would only have to draw for itself what another has

    def __init__(
        self,
        subject: Callable[[int], Subject],
        render: Callable[[Subject, int], NDArray[np.uint8]],
        size: int,
        first: int,
        count: int,
        what: str,
        code: Sequence[Path],
        content: Mapping[str, Any],
        cache: ImageCache | None,
    ):
        self._subject, self._render, self._size, self._first = subject, render, size, first
        self.names = [f"{index:05d}.png" for index in range(count)]
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._cache = cache
        self._stored: StoredImages | None = None
        self._what = f"{what}, from {first}, {size} px"
        self._key = content_key(
            code,
            {"size": size, "first": first, "count": count, "numpy": np.__version__} | dict(content),
        )
        self._look_into_cache(None)

    def __len__(self) -> int:
        return len(self.names)

    def subject(self, index: int) -> Subject:
        """Return the parameters of one picture."""
        return self._subject(self._first + range(len(self))[index])

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return one image, uint8 H W C, not to be written to."""
        index = range(len(self))[index]
        if self._stored is not None:
            return self._stored[index]
        image = self._kept.get(index)
        if image is None:
            image = self._render(self.subject(index), self._size)
            image.flags.writeable = False
            self._kept[index] = image
            if len(self._kept) == len(self):
                self._look_into_cache(self._put)
        return image

    def _look_into_cache(self, make: Make | None) -> None:
        if self._cache is not None:
            # Of colour; masks take a third of it.
            nbytes = len(self) * self._size**2 * 3
            self._stored = self._cache.get(self._key, self._what, nbytes, make)
        if self._stored is not None:
            self._kept = {}

    def _put(self, add: Callable[[NDArray[np.uint8]], None]) -> dict[str, Any]:
        for index in range(len(self)):
            add(self._kept[index])
        return {}
