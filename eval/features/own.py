"""Features for a metric that brings its own extractor, whatever the evaluation's is."""

from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from eval.features import create_extractor, require_extractor
from eval.features.base import FeatureExtractor
from eval.metric import Evaluated, Pictures
from eval.scores import PixelHash

MOST_SETS = 4  # kept: the real images of both domains meet every translator


class OwnFeatures:
    """One extractor, read at its first use, with the features of the last sets of images.

    Args:
        name: see `eval.features`.

    Raises:
        MissingWeights: its weights are not on this machine.
    """

    def __init__(self, name: str):
        require_extractor(name)
        self.name = name
        self._kept: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()

    def pair(self, data: Evaluated) -> tuple[np.ndarray, np.ndarray]:
        """Features of the translations and of the real images, (n, d) and (m, d).

        Raises:
            UntrustedWeights: the extractor's file is not the published one.
        """
        extractor = extractor_of(self.name, data.trust)
        return self._of(extractor, data.images), self._of(extractor, data.reals)

    def record(self, data: Evaluated) -> dict[str, Any]:
        """What a score has to say about them: fields of `eval.scores.Score`."""
        extractor = extractor_of(self.name, data.trust)
        return {
            "extractor": extractor.name,
            "comparable": extractor.comparable,
            "extractor_sha256": extractor.weights_sha256,
            "reference": data.reference,
            "num_real": len(data.reals),
            "resizer": resized(data, extractor.resizer),
        }

    def _of(self, extractor: FeatureExtractor, images: Pictures) -> np.ndarray:
        pixels = PixelHash()
        for image in images:
            pixels.add(image)
        key = (extractor.name, pixels.hexdigest())
        if key not in self._kept:
            self._kept[key] = extractor(images)
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_SETS:
            self._kept.popitem(last=False)
        return self._kept[key]


def extractor_of(name: str, trust: bool) -> FeatureExtractor:
    """An extractor, loaded once for all metrics that use it."""
    return _loaded(name, trust, require_extractor(name))


@lru_cache(maxsize=2)
def _loaded(name: str, trust: bool, file: Path | None) -> FeatureExtractor:
    return create_extractor(name, trust=trust)


def resized(data: Evaluated, how: str) -> str:
    """The field `resizer`: how images reached their size, and that of the network."""
    side = data.images[0].shape[0] if len(data.images) else 0
    return f"Pillow bicubic to {side} px; extractor: {how}"
