"""What a feature extractor is."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from eval.features.images import Images


class FeatureExtractor(ABC):
    """Images to feature vectors, for FID and KID.

    Numbers on features of different extractors have nothing to do with one another, so the name
    travels with every score.

    Attributes:
        name: with a version; two extractors of one name give the same features.
        dim: length of a feature vector.
        comparable: whether distances on these features are those of the literature.
        resizer: how images are brought to the extractor's size, in words.
        weights_sha256: hash of the weights' file, None without one.
    """

    name: str
    dim: int
    comparable: bool
    resizer: str
    weights_sha256: str | None = None

    @abstractmethod
    def __call__(self, images: Images) -> np.ndarray:
        """Compute features.

        Args:
            images: uint8 array N H W 3; or a sequence of uint8 arrays H W 3 of any sizes; or a
                float tensor N 3 H W in [-1, 1], rounded first as for a PNG file.

        Returns:
            float32 of shape (n, dim), one row an image, in order.

        Raises:
            ValueError: for images of another form.
        """

    def record(self) -> dict[str, Any]:
        """What a table of scores has to say about the features."""
        return {
            "extractor": self.name,
            "dim": self.dim,
            "comparable": self.comparable,
            "resizer": self.resizer,
            "weights_sha256": self.weights_sha256,
        }
