"""Feature extractors for FID and KID, by name."""

from eval.features.base import FeatureExtractor
from zoo.registry import UserError, nearest

EXTRACTORS = ("offline-v1", "inception-v3-tf")
ALIASES = {"offline": "offline-v1", "inception": "inception-v3-tf"}


def create_extractor(name: str, *, trust: bool = False) -> FeatureExtractor:
    """Create an extractor.

    Args:
        name: one of EXTRACTORS; "offline" is the newest of the weight-free ones.
        trust: take a file of weights whose hash is not the published one.

    Raises:
        UserError: no extractor has this name.
        MissingWeights: its weights are not on this machine.
        UntrustedWeights: they are, with an unexpected hash, and `trust` is off.
    """
    full_name = ALIASES.get(name, name)
    if full_name == "offline-v1":
        from eval.features.offline import OfflineV1

        return OfflineV1()
    if full_name == "inception-v3-tf":
        from eval.features.inception import Inception

        return Inception(trust=trust)
    choices = [*EXTRACTORS, *ALIASES]
    raise UserError(
        f"no feature extractor is called {name!r}.{nearest(name, choices)} "
        f"Known: {', '.join(choices)}"
    )
