"""LPIPS between each image and its translation: how much a translation changes.

Paper: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from eval.metric import Column, Evaluated, Value
from zoo.downloads import require_weights
from zoo.registry import METRICS


@METRICS.register("lpips_source")
class LpipsToSource:
    """Perceptual distance of a translation from its source, LPIPS 0.1 (Zhang et al. 2018).

    0 is no change at all, so less is better only among methods that reach the target as well.
    """

    needs: frozenset[str] = frozenset()
    columns = {"lpips_source": Column("LPIPS to source", "lower", 1, 3)}
    on_untranslated = False  # 0

    @dataclass(kw_only=True)
    class Config:
        """The network."""

        net: Annotated[Literal["alex", "vgg", "squeeze"], "backbone; most papers report alex"] = (
            "alex"
        )

    def __init__(self, config: Config):
        from eval.perceptual import BACKBONES  # loads torchvision, hence only on use

        require_weights(BACKBONES[config.net])
        self.net = config.net

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "lpips_source"."""
        from eval.perceptual import perceptual

        distance = perceptual(self.net, trust=data.trust)
        values = distance(data.images, data.sources)
        fields = {**distance.record(), "reference": "source", "num_real": len(data.sources)}
        return {"lpips_source": Value.of_images(values, **fields)}
