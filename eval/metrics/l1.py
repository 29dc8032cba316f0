"""Mean absolute difference to the truth of each image."""

from dataclasses import dataclass

import numpy as np

from eval.checks import checked_pairs
from eval.features.images import Images
from eval.metric import Column, Evaluated, Value
from zoo.registry import METRICS


@METRICS.register("l1")
class L1:
    """Mean absolute difference to the truth, values in [0, 1]; prefers blur to a small shift."""

    needs = frozenset({"pairs"})
    columns = {"l1": Column("L1 to truth", "lower", 1, 4)}
    on_untranslated = True
    default = "always"

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config):
        self.config = config

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "l1"."""
        assert data.truths is not None
        return {"l1": Value.of_images(l1(data.images, data.truths))}


def l1(images: Images, truths: Images) -> np.ndarray:
    """Mean absolute difference of each image from its truth.

    Args:
        images: as for `eval.features`: uint8 N H W 3, a sequence of uint8 H W 3, or a float tensor
            N 3 H W in [-1, 1].
        truths: as many, of the same sizes.

    Returns:
        float64 (n,): 0 for equal images, 1 for black against white.

    Raises:
        MetricError: for different numbers or sizes.
    """
    return np.array(
        [
            np.abs(x.astype(np.int16) - y).mean(dtype=np.float64) / 255
            for x, y in checked_pairs(images, truths)
        ]
    )
