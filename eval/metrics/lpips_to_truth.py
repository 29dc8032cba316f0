"""LPIPS of each image to its truth.

Paper: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from eval.metric import Column, Evaluated, Value
from zoo.downloads import require_weights
from zoo.registry import METRICS


@METRICS.register("lpips")
class LpipsToTruth:
    """Perceptual distance to the truth, LPIPS 0.1 (Zhang et al. 2018); 0 for equal images."""

    needs = frozenset({"pairs"})
    columns = {"lpips": Column("LPIPS to truth", "lower", 1, 3)}
    on_untranslated = True
    default = "evaluation"

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
        """The score "lpips"."""
        from eval.perceptual import perceptual

        assert data.truths is not None
        distance = perceptual(self.net, trust=data.trust)
        values = distance(data.images, data.truths)
        return {"lpips": Value.of_images(values, **distance.record())}
