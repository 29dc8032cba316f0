"""Fréchet distance on DINOv2's features, FD-DINOv2.

Paper: Stein et al. 2023, "Exposing Flaws of Generative Model Evaluation Metrics and Their Unfair
Treatment of Diffusion Models", §4: of the distances they compare, the one that agrees best with
people.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from eval.distances import frechet_distance, resampled_frechet
from eval.features.own import OwnFeatures
from eval.metric import Column, Evaluated, Value
from zoo.registry import METRICS


@METRICS.register("fd_dinov2")
class FdDinov2:
    """Fréchet distance on DINOv2's features to real images, whatever the extractor is (Stein 2023).

    Like FID it falls with the number of images. Its values are some hundreds: features of DINOv2
    are larger than those of Inception.
    """

    needs: frozenset[str] = frozenset()
    columns = {"fd_dinov2": Column("FD-DINOv2", "lower", 1, 1)}
    on_untranslated = True

    @dataclass(kw_only=True)
    class Config:
        """Which network."""

        network: Annotated[
            Literal["dinov2-vitl14", "dinov2-vitb14", "dinov2-vits14"],
            "extractor; papers report dinov2-vitl14, the others are quicker",
        ] = "dinov2-vitl14"

    def __init__(self, config: Config):
        self.features = OwnFeatures(config.network)

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "fd_dinov2"."""
        fake, real = self.features.pair(data)
        value = frechet_distance(fake, real)
        resampled = None
        if data.resamples is not None and data.resamples_of_reals is not None:
            resampled = resampled_frechet(
                fake, real, value, data.resamples, data.resamples_of_reals
            )
        fields = self.features.record(data)
        return {"fd_dinov2": Value(value=value, resampled=resampled, fields=fields)}
