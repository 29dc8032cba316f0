"""Feature extractors for FID, KID and the like, by name."""

from pathlib import Path

from eval.features.base import FeatureExtractor
from zoo.downloads import require_weights
from zoo.registry import UserError, nearest

# Each with its file of weights in `zoo.downloads.WEIGHTS`, if it has one.
_FILES = {
    "offline-v1": None,
    "inception-v3-tf": "inception-2015-12-05.pt",
    "dinov2-vitl14": "dinov2_vitl14_pretrain.pth",
    "dinov2-vitb14": "dinov2_vitb14_pretrain.pth",
    "dinov2-vits14": "dinov2_vits14_pretrain.pth",
    "clip-vitl14-336": "ViT-L-14-336px.pt",
}
EXTRACTORS = tuple(_FILES)
ALIASES = {
    "offline": "offline-v1",
    "inception": "inception-v3-tf",
    "dinov2": "dinov2-vitl14",
    "clip": "clip-vitl14-336",
}


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
    name = full_name(name)
    if name == "offline-v1":
        from eval.features.offline import OfflineV1

        return OfflineV1()
    if name == "inception-v3-tf":
        from eval.features.inception import Inception

        return Inception(trust=trust)
    if name.startswith("dinov2-"):
        from eval.features.dinov2 import Dinov2

        return Dinov2(name, trust=trust)
    from eval.features.clip import Clip

    return Clip(trust=trust)


def require_extractor(name: str) -> Path | None:
    """Where an extractor's weights lie, if it has some; they are not read.

    Raises:
        UserError: no extractor has this name.
        MissingWeights: its weights are not on this machine.
    """
    file = _FILES[full_name(name)]
    return None if file is None else require_weights(file)


def full_name(name: str) -> str:
    """The extractor's name, if it was called by a short one.

    Raises:
        UserError: no extractor has this name.
    """
    full = ALIASES.get(name, name)
    if full not in _FILES:
        choices = [*EXTRACTORS, *ALIASES]
        raise UserError(
            f"no feature extractor is called {name!r}.{nearest(name, choices)} "
            f"Known: {', '.join(choices)}"
        )
    return full
