"""Peak signal-to-noise ratio to the truth of each image."""

from dataclasses import dataclass

import numpy as np

from eval.checks import checked_pairs
from eval.features.images import Images
from eval.metric import Column, Evaluated, Value
from zoo.registry import METRICS

HIGHEST = 100.0  # dB: of equal images, where the formula has infinity


@METRICS.register("psnr")
class Psnr:
    """Peak signal-to-noise ratio to the truth in dB, mean over images; a logarithm of L2."""

    needs = frozenset({"pairs"})
    columns = {"psnr": Column("PSNR to truth, dB", "higher", 1, 2)}
    on_untranslated = True

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config):
        self.config = config

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "psnr"."""
        assert data.truths is not None
        return {"psnr": Value.of_images(psnr(data.images, data.truths))}


def psnr(images: Images, truths: Images) -> np.ndarray:
    """10 log10(255² / mean squared difference) of each image.

    Arguments and errors as for `eval.metrics.l1.l1`.

    Returns:
        float64 (n,) in dB: 0 for black against white; at most HIGHEST, so that one perfect image
        does not make the mean infinite.
    """
    values = []
    for x, y in checked_pairs(images, truths):
        error = np.square(x.astype(np.int32) - y).mean(dtype=np.float64) / 255**2
        values.append(HIGHEST if error == 0 else min(HIGHEST, -10 * np.log10(error)))
    return np.array(values)
