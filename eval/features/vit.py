"""Vision transformers of timm (Wightman 2019) with weights from Zoo's folder.

Nothing is downloaded, no weight stays random, and loading runs no code of a file whose hash is not
the published one. timm is imported on first use, as that takes a second.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval.features.images import Images, as_uint8
from zoo.downloads import Found, UntrustedWeights, find_weights

State = dict[str, Tensor]
Resize = Callable[[np.ndarray, int], np.ndarray]  # uint8 H W 3 and a side to uint8 side side 3
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and spread of colours in [0, 1]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One published network.

    Attributes:
        architecture: timm's name.
        file: of its weights, in `zoo.downloads.WEIGHTS`.
        side: of the square images that it takes, pixels.
        options: of timm's constructor.
    """

    architecture: str
    file: str
    side: int
    options: Mapping[str, Any] = field(default_factory=dict)


class Vit:
    """A network with its published weights.

    Args:
        network: which.
        adapt: brings the file's names and shapes to those of timm's network; every one has to fit.
        colours: mean and spread of colours in [0, 1], taken off and divided by.
        trust: take a file whose hash is not the published one.
        device: where to run; None is a GPU if there is one.

    Attributes:
        net: timm's network, without gradients.
        found: the file.
        side: of the images that it takes, pixels.
        dim: length of what it gives.

    Raises:
        MissingWeights: the file is not on this machine.
        UntrustedWeights: it is, with another hash and `trust` off, or it holds another network.
    """

    def __init__(
        self,
        network: Network,
        adapt: Callable[[State, Any], State],
        *,
        colours: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET,
        trust: bool = False,
        device: str | torch.device | None = None,
    ):
        self.found: Found = find_weights(network.file, trust=trust)
        self.side = network.side
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._mean, self._spread = (
            torch.tensor(values, device=self._device)[:, None, None] for values in colours
        )
        try:
            net = _untrained(network)
            state = {k: v.float() for k, v in adapt(read_state(self.found.path), net).items()}
            net.load_state_dict(state, assign=True)
        except Exception as error:  # a pickle or an archive of something else fails in many ways
            message = f"{self.found.path} does not hold {network.architecture}: {error}"
            raise UntrustedWeights(message) from error
        self.net: Any = net.to(self._device).eval().requires_grad_(False)
        self.dim: int = self.net.num_classes or self.net.num_features

    def named(self, name: str) -> str:
        """A name that says if the weights are not the published ones, by a part of their hash."""
        return name if self.found.published else f"{name}+{self.found.sha256[:12]}"

    def __call__(self, images: Images, resize: Resize, chunk: int) -> np.ndarray:
        """What the network gives, float32 (n, dim); arguments as for `batches`."""
        with torch.inference_mode():
            given = [self.net(x).cpu().numpy() for x in self.batches(images, resize, chunk)]
        return np.concatenate([np.empty((0, self.dim), np.float32), *given])

    def batches(self, images: Images, resize: Resize, chunk: int) -> Iterator[Tensor]:
        """Images as the network takes them, batches N 3 side side.

        Args:
            images: as for a `FeatureExtractor`.
            resize: to a square, see `resize_bicubic`.
            chunk: images in a batch.
        """
        stream = as_uint8(images)
        while part := list(islice(stream, chunk)):
            pixels = np.stack([resize(image, self.side) for image in part])
            batch = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2).float() / 255
            yield (batch - self._mean) / self._spread


def _untrained(network: Network) -> Any:
    """The network without numbers, which neither takes time nor moves random generators."""
    import timm

    with torch.device("meta"):
        return timm.create_model(
            network.architecture, pretrained=False, img_size=network.side, **network.options
        )


def read_state(path: Path) -> State:
    """The tensors of a file, by name: safetensors, PyTorch's format, or TorchScript."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if path.suffix == ".pt" and _is_torchscript(path):
        with warnings.catch_warnings():  # it is the form in which OpenAI publishes
            warnings.filterwarnings("ignore", "`torch.jit.load` is", DeprecationWarning)
            return torch.jit.load(path, map_location="cpu").state_dict()
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code in it."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def resize_bicubic(image: np.ndarray, side: int) -> np.ndarray:
    """Resize to a square with Pillow's antialiased bicubic filter, rounded to uint8."""
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def resize_bilinear(image: np.ndarray, side: int) -> np.ndarray:
    """Resize to a square with Pillow's antialiased bilinear filter, rounded to uint8."""
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
