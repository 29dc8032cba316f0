"""The source in other styles: as it is, translated, and changed by what needs no learning.

The latter are controls. A translation that helps a task no more than matching colours does has
not earned its training.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from eval.adaptation.translate import Translated
from eval.tasks.data import TaskData
from eval.trivial import FourierTransfer, Grayscale, HistogramMatch, Reinhard, Trivial
from zoo.images import resize

CONTROLS: dict[str, Callable[[], Trivial]] = {
    "histogram_match": HistogramMatch,
    "reinhard": Reinhard,
    "fda": FourierTransfer,
    "grayscale": Grayscale,
}
FITTED_ON = 500  # images of each domain
_FITTED_SIDE = 256  # longer side at most; colours and low frequencies need no more


class Style(NamedTuple):
    """All source images in one style.

    Attributes:
        data: with the source's labels.
        change: what test images go through as well; None: they stay as they are.
        identity: changes when an image of the style could.
    """

    data: TaskData
    change: Callable[[np.ndarray], np.ndarray] | None
    identity: str


class Styles:
    """Makes styles by name, each once.

    Args:
        source: labelled images.
        target: images of the target that controls are fitted on.
        translated: the source's translations; None without a translator.
        digests: identities of source and target.
    """

    def __init__(
        self,
        source: TaskData,
        target: TaskData,
        translated: Translated | None,
        digests: tuple[str, str],
    ):
        self._source, self._target, self._translated = source, target, translated
        self._digests = digests
        self._made: dict[str, Style] = {}

    def __getitem__(self, name: str) -> Style:
        """Return "source", "translated" or a control."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Style:
        if name == "source":
            return Style(self._source, None, self._identity(name, None))
        if name == "translated":
            assert self._translated is not None
            data = self._source.with_images(self._translated.image_of)
            return Style(data, None, self._identity(name, self._translated.origin))
        control = CONTROLS[name]()
        size = self._fitted_size()
        control.fit(_some(self._source, size), _some(self._target, size))
        # Without colour a source is only like a target without colour.
        change = control if name == "grayscale" else None
        return Style(self._source.changed(control), change, self._identity(name, self._digests[1]))

    def _identity(self, name: str, more: Any) -> str:
        if isinstance(more, dict):
            more = {key: value for key, value in more.items() if key != "run"}
        text = json.dumps([name, self._digests[0], more], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _fitted_size(self) -> tuple[int, int]:
        height, width = self._source.image_of(0).shape[:2]
        shrink = min(1.0, _FITTED_SIDE / max(height, width))
        return max(round(height * shrink), 1), max(round(width * shrink), 1)


def _some(data: TaskData, size: tuple[int, int]) -> np.ndarray:
    """Evenly spaced images at one size, uint8 N H W 3."""
    count = min(len(data), FITTED_ON)
    return np.stack([resize(data.image_of(i * len(data) // count), size) for i in range(count)])
