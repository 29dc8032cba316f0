"""Files that Zoo uses but does not ship: where they are published, where they lie, their hashes.

Nothing is fetched here. A missing file is an error that says which one, from where and where to put
it: many machines that train have no way out, and a file of weights is looked at before it is used.
"""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from zoo.registry import UserError

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "ZOO_WEIGHTS"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One published file.

    Attributes:
        file: its name, under which it is looked for.
        url: where its authors publish it.
        purpose: what it is for, for messages.
        sha256: the published SHA-256, or its published beginning, in hexadecimal.
        size: published size in bytes, None if only the hash is.
    """

    file: str
    url: str
    purpose: str
    sha256: str
    size: int | None = None


# torchvision's file names end in the first 8 digits of the file's SHA-256; its own downloads are
# checked against them.
WEIGHTS = {
    weights.file: weights
    for weights in (
        Weights(
            file="inception-2015-12-05.pt",
            url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
            "inception-2015-12-05.pt",
            purpose="FID and KID as published (clean-fid's Inception)",
            sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
            size=95_607_719,
        ),
        Weights(
            file="alexnet-owt-7be5be79.pth",
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            purpose="LPIPS with AlexNet",
            sha256="7be5be79",
        ),
        Weights(
            file="vgg16-397923af.pth",
            url="https://download.pytorch.org/models/vgg16-397923af.pth",
            purpose="LPIPS with VGG-16",
            sha256="397923af",
        ),
    )
}


class MissingWeights(UserError):
    """A file of weights is not in the folder."""


class UntrustedWeights(UserError):
    """A file of weights does not have its published hash."""


@dataclass(frozen=True)
class Found:
    """A file of weights on this machine.

    Attributes:
        path: where it lies.
        sha256: its SHA-256, all 64 digits.
        published: whether that is the published one; if not, somebody said to trust it.
    """

    path: Path
    sha256: str
    published: bool


def weights_folder() -> Path:
    """The folder of weights: $ZOO_WEIGHTS, else ~/.cache/zoo/weights."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "zoo" / "weights"


def require_weights(file: str, *, folder: Path | None = None) -> Path:
    """Where a file lies; its content is not looked at.

    Args:
        file: a name of WEIGHTS.
        folder: instead of `weights_folder()`.

    Raises:
        MissingWeights: it is not there.
    """
    weights = WEIGHTS[file]
    folder = weights_folder() if folder is None else folder
    path = folder / file
    if not path.is_file():
        size = f"{weights.size} bytes, " if weights.size else ""
        begins = "" if len(weights.sha256) == 64 else "begins with "
        raise MissingWeights(
            f"{weights.purpose} needs {file} ({size}SHA-256 {begins}{weights.sha256}).\n"
            f"Fetch it from {weights.url}\n"
            f"and put it into {folder} (another folder: set {FOLDER_VARIABLE})."
        )
    return path


def find_weights(file: str, *, trust: bool = False, folder: Path | None = None) -> Found:
    """Find a file and compare its hash, before anybody loads it: some formats hold code.

    Args:
        file: a name of WEIGHTS.
        trust: accept another hash than the published one.
        folder: instead of `weights_folder()`.

    Raises:
        MissingWeights: it is not there.
        UntrustedWeights: it has another hash, and `trust` is off.
    """
    weights, path = WEIGHTS[file], require_weights(file, folder=folder)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    published = digest.startswith(weights.sha256)
    if not published and not trust:
        raise UntrustedWeights(
            f"{path} is not the published file: {path.stat().st_size} bytes, SHA-256 {digest}, "
            f"wanted {weights.sha256}. Fetch it again from {weights.url}, or pass --trust "
            "(trust=True) if you know where it comes from: loading it may run code."
        )
    if not published:
        logger.warning("%s: trusted on request, its SHA-256 is not the published one", path)
    return Found(path, digest, published)


def find_timm_weights(repository: str) -> Path:
    """Find the published weights of one of timm's networks.

    They are safetensors, which hold numbers and no code; the network's names and shapes must fit.

    Args:
        repository: where they are published on huggingface.co, "timm/resnet18.a1_in1k".

    Raises:
        MissingWeights: they are not there.
    """
    folder, file = weights_folder(), f"{repository.rpartition('/')[2]}.safetensors"
    if not (folder / file).is_file():
        raise MissingWeights(
            f"pretrained: true needs the weights of timm's {repository.rpartition('/')[2]}.\n"
            f"Fetch https://huggingface.co/{repository}/resolve/main/model.safetensors\n"
            f"and put it as {file} into {folder} (another folder: set {FOLDER_VARIABLE})."
        )
    return folder / file
