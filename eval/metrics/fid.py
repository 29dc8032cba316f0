"""Fréchet distance between two sets of features; FID on Inception's.

Paper: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
Equilibrium", Eq. 6.
"""

from dataclasses import dataclass

from eval.distances import frechet_distance, resampled_frechet
from eval.metric import Column, Evaluated, Value
from zoo.registry import METRICS


@METRICS.register("fid")
class Fid:
    """Fréchet distance of the features to those of real images (Heusel et al. 2017)."""

    needs = frozenset({"features"})
    columns = {"fid": Column("FID", "lower", 1, 2)}
    on_untranslated = True
    default = "always"

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config):
        self.config = config

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "fid"."""
        assert data.features_of is not None
        fake, real = data.features_of("images"), data.features_of("reals")
        value = frechet_distance(fake, real)
        resampled = None
        if data.resamples is not None and data.resamples_of_reals is not None:
            resampled = resampled_frechet(
                fake, real, value, data.resamples, data.resamples_of_reals
            )
        return {"fid": Value(value=value, resampled=resampled)}
