"""How much of a source comes back when its translation is translated back."""

from dataclasses import dataclass

import numpy as np

from eval.checks import MetricError
from eval.metric import Column, Evaluated, Pictures, Value
from zoo.registry import METRICS


@METRICS.register("cycle_error")
class CycleError:
    """Mean absolute difference of a source from its translation translated back."""

    needs = frozenset({"back"})
    columns = {"cycle_error": Column("L1 there and back", "lower", 1, 4)}
    on_untranslated = False
    default = "evaluation"

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config):
        self.config = config

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "cycle_error"."""
        if len(data.sources) == 0:
            raise MetricError("there are no images to translate back")
        return {"cycle_error": Value.of_images(cycle_error(data.sources, data.back))}


def cycle_error(sources: Pictures, back: Pictures) -> np.ndarray:
    """Mean absolute difference of each source from what came back, both at 8 bits.

    A translator may hide the source in its output (Chu et al. 2017); the way back starts from
    rounded pixels, which destroys some of what is hidden, not all.

    Args:
        sources: uint8 H W C each.
        back: as many, of the same sizes.

    Returns:
        float64 (n,): 0 for equal images, 1 for black against white.

    Raises:
        MetricError: for different numbers or sizes.
    """
    if len(sources) != len(back):
        raise MetricError(f"{len(back)} images came back of {len(sources)}")
    found = np.empty(len(sources))
    for i, (source, returned) in enumerate(zip(sources, back, strict=True)):
        if source.shape != returned.shape:
            raise MetricError(f"source {i} is {source.shape}, what came back {returned.shape}")
        apart = np.abs(source.astype(np.int16) - returned)
        found[i] = apart.mean(dtype=np.float64) / 255
    return found
