"""Files that Zoo uses but does not ship: where they are published, where they lie, their hashes.

Nothing is fetched here, only by `zoo weights get` (`zoo.fetching`). A missing file is an error that
says which one, from where and where to put it: many machines that train have no way out, and a file
of weights is looked at before it is used.
"""

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from zoo.registry import UserError, nearest

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "ZOO_WEIGHTS"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One published file.

    Attributes:
        name: what `zoo weights` calls it.
        file: its name, under which it is looked for.
        url: where its authors publish it.
        purpose: what it is for, for messages.
        sha256: the published SHA-256, or its published beginning, in hexadecimal; None if nobody
            is known to publish it.
        hash_source: who says so.
        size: published size in bytes, None if only the hash is.
    """

    name: str
    file: str
    url: str
    purpose: str
    sha256: str | None
    hash_source: str = ""
    size: int | None = None

    @property
    def says(self) -> str:
        """Size and hash in words: `95607719 bytes, SHA-256 f58c…`."""
        size = f"{self.size} bytes, " if self.size else ""
        if self.sha256 is None:
            return f"{size}no published hash"
        return f"{size}SHA-256 {'' if len(self.sha256) == 64 else 'begins with '}{self.sha256}"


_TORCHVISION = "the file's name, by which torchvision checks it"
_REFINERS = "finegrain-ai/refiners, src/refiners/conversion/models/dinov2.py"
_DINOV2 = "https://dl.fbaipublicfiles.com/dinov2"

WEIGHTS = {
    weights.file: weights
    for weights in (
        Weights(
            name="inception",
            file="inception-2015-12-05.pt",
            url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
            "inception-2015-12-05.pt",
            purpose="FID and KID as published (clean-fid's Inception)",
            sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
            hash_source="crowsonkb/k-diffusion, k_diffusion/evaluation.py",
            size=95_607_719,
        ),
        Weights(
            name="alexnet",
            file="alexnet-owt-7be5be79.pth",
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            purpose="LPIPS with AlexNet",
            sha256="7be5be79",
            hash_source=_TORCHVISION,
            size=244_408_911,
        ),
        Weights(
            name="vgg16",
            file="vgg16-397923af.pth",
            url="https://download.pytorch.org/models/vgg16-397923af.pth",
            purpose="LPIPS with VGG-16, and the loss vgg_features",
            sha256="397923af",
            hash_source=_TORCHVISION,
            size=553_433_881,
        ),
        Weights(
            name="squeezenet",
            file="squeezenet1_1-b8a52dc0.pth",
            url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
            purpose="LPIPS with SqueezeNet 1.1",
            sha256="b8a52dc0",
            hash_source=_TORCHVISION,
            size=4_958_839,
        ),
        Weights(
            name="dinov2-large",
            file="dinov2_vitl14_pretrain.pth",
            url=f"{_DINOV2}/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
            purpose="FD on DINOv2 features as published (ViT-L/14)",
            sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
            hash_source=_REFINERS,
            size=1_217_586_395,
        ),
        Weights(
            name="dinov2-base",
            file="dinov2_vitb14_pretrain.pth",
            url=f"{_DINOV2}/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
            purpose="FD on DINOv2 features, a smaller network (ViT-B/14)",
            sha256="0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
            hash_source=_REFINERS,
            size=346_378_731,
        ),
        Weights(
            name="dinov2-small",
            file="dinov2_vits14_pretrain.pth",
            url=f"{_DINOV2}/dinov2_vits14/dinov2_vits14_pretrain.pth",
            purpose="FD on DINOv2 features, the smallest network (ViT-S/14)",
            sha256="b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
            hash_source=_REFINERS,
            size=88_283_115,
        ),
        Weights(
            name="clip",
            file="ViT-L-14-336px.pt",
            url="https://openaipublic.azureedge.net/clip/models/"
            "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02/ViT-L-14-336px.pt",
            purpose="CMMD (CLIP ViT-L/14 at 336 px)",
            sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
            hash_source="the address, by which openai/CLIP, clip/clip.py, checks it",
            size=934_088_680,
        ),
        Weights(
            name="dino-base",
            file="vit_base_patch8_224.dino.safetensors",
            url="https://huggingface.co/timm/vit_base_patch8_224.dino/resolve/main/"
            "model.safetensors",
            purpose="the structure distance (DINO ViT-B/8)",
            sha256="01be14b99784a4c0970a5703214513588daf27014e908ac7ea08967b7bd80f5f",
            hash_source="its page at huggingface.co/timm/vit_base_patch8_224.dino",
        ),
        Weights(
            name="facenet",
            file="20180402-114759-vggface2.pt",
            url="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
            "20180402-114759-vggface2.pt",
            purpose="identity kept (FaceNet trained on VGGFace2)",
            sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
            hash_source="its copy at huggingface.co/py-feat/facenet",
            size=111_898_327,
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


def named(name: str) -> Weights:
    """The file that a name means.

    Args:
        name: one of `zoo weights list`, a file's name, or "timm/resnet18.a1_in1k": a network whose
            weights timm's authors publish on huggingface.co.

    Raises:
        UserError: there is none.
    """
    names = {weights.name: weights for weights in WEIGHTS.values()}
    found = names.get(name) or WEIGHTS.get(name)
    if found is not None:
        return found
    if re.fullmatch(r"timm/[\w.-]+", name):
        return timm_weights(name)
    raise UserError(
        f"no weights are called {name!r}.{nearest(name, [*names, *WEIGHTS])} "
        f"Known: {', '.join(names)}, and timm/NETWORK.TAG"
    )


def timm_weights(repository: str) -> Weights:
    """The published weights of one of timm's networks, as safetensors.

    Args:
        repository: where they are published on huggingface.co, "timm/resnet18.a1_in1k".
    """
    network = repository.rpartition("/")[2]
    file = f"{network}.safetensors"
    return WEIGHTS.get(file) or Weights(
        name=repository,
        file=file,
        url=f"https://huggingface.co/{repository}/resolve/main/model.safetensors",
        purpose=f"pretrained weights of timm's {network}",
        sha256=None,
    )


def locate(weights: Weights, folder: Path | None = None) -> Path:
    """Where a file lies, not looking into it.

    Raises:
        MissingWeights: it is not there.
    """
    folder = weights_folder() if folder is None else folder
    path = folder / weights.file
    if not path.is_file():
        raise MissingWeights(
            f"{weights.purpose}: {weights.file} is missing ({weights.says}).\n"
            f"With a network: zoo weights get {weights.name}\n"
            f"Without: fetch {weights.url}\n"
            f"and put it as {weights.file} into {folder} (another folder: set {FOLDER_VARIABLE})."
        )
    return path


def require_weights(file: str, *, folder: Path | None = None) -> Path:
    """Where a file lies; its content is not looked at.

    Args:
        file: a name of WEIGHTS.
        folder: instead of `weights_folder()`.

    Raises:
        MissingWeights: it is not there.
    """
    return locate(WEIGHTS[file], folder)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
    weights = WEIGHTS[file]
    path = require_weights(file, folder=folder)
    digest = sha256_of(path)
    published = weights.sha256 is not None and digest.startswith(weights.sha256)
    if not published and not trust:
        raise UntrustedWeights(
            f"{path} is not the published file: {path.stat().st_size} bytes, SHA-256 {digest}, "
            f"wanted {weights.says}. Remove it and run zoo weights get {weights.name} (from "
            f"{weights.url}), or pass --trust (trust=True) if you know where it comes from: "
            "loading it may run code."
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
    return locate(timm_weights(repository))
