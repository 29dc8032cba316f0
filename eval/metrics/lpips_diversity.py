"""LPIPS between translations of different images: a collapse to one output shows as 0.

Papers: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric";
as a measure of diversity Zhu et al. 2017, "Toward Multimodal Image-to-Image Translation", who pair
several outputs for one input. Networks that give one output for each input leave pairs of different
inputs, as here.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from eval.checks import MetricError
from eval.metric import Column, Evaluated, Value
from eval.resampling import around, times_drawn
from zoo.downloads import require_weights
from zoo.registry import METRICS
from zoo.schema import COUNT


@METRICS.register("lpips_diversity")
class LpipsDiversity:
    """Mean perceptual distance between translations, LPIPS 0.1 (Zhang et al. 2018); 0: all equal.

    It has to be read beside that of the untranslated images: a target domain may be less diverse.
    """

    needs: frozenset[str] = frozenset()
    columns = {"lpips_diversity": Column("LPIPS diversity", "higher", 1, 3)}
    on_untranslated = True

    @dataclass(kw_only=True)
    class Config:
        """The network, and how many pairs."""

        net: Annotated[Literal["alex", "vgg", "squeeze"], "backbone; most papers report alex"] = (
            "alex"
        )
        num_pairs: Annotated[int, "pairs at most, drawn by the seed without repetition", COUNT] = (
            1000
        )

    def __init__(self, config: Config):
        from eval.perceptual import BACKBONES  # loads torchvision, hence only on use

        require_weights(BACKBONES[config.net])
        self.net, self.num_pairs = config.net, config.num_pairs

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "lpips_diversity"."""
        from eval.perceptual import perceptual

        first, second = draw_pairs(len(data.images), self.num_pairs, data.seed)
        distance = perceptual(self.net, trust=data.trust)
        values = distance([data.images[i] for i in first], [data.images[i] for i in second])
        value = float(values.mean())
        resampled = None
        if data.resamples is not None:
            drawn = times_drawn(data.resamples)
            resampled = around(resampled_pair_means(values, first, second, drawn), value)
        fields = {**distance.record(), "seed": data.seed}
        return {"lpips_diversity": Value(value=value, resampled=resampled, fields=fields)}


def draw_pairs(num_images: int, num_pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different images, none twice; all of them where there are no more than wanted.

    Returns:
        Two arrays of row numbers, the smaller of each pair in the first.

    Raises:
        MetricError: for fewer than 2 images.
    """
    if num_images < 2:
        raise MetricError(f"{num_images} image(s) make no pair; diversity needs at least 2")
    first, second = np.triu_indices(num_images, k=1)
    if len(first) <= num_pairs:
        return first, second
    kept = np.sort(np.random.default_rng(seed).choice(len(first), num_pairs, replace=False))
    return first[kept], second[kept]


def resampled_pair_means(
    values: np.ndarray, first: np.ndarray, second: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """The mean over pairs of each resample of the images.

    Args:
        values: (pairs,).
        first: (pairs,) row numbers of images.
        second: (pairs,) the same.
        times: (resamples, n) how often each image is drawn; a pair counts the product of both.

    Returns:
        float64 (resamples,).
    """
    weights = times[:, first] * times[:, second]
    total = weights.sum(1)
    sums = weights @ np.asarray(values, np.float64)
    return np.divide(sums, total, out=np.full(len(times), float(values.mean())), where=total > 0)
