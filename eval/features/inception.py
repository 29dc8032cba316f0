"""`inception-v3-tf`: the network of the published FID and KID, as clean-fid runs it.

The TorchScript copy of the 2015 TensorFlow Inception v3 (Szegedy et al. 2016) that StyleGAN2-ADA's
authors published. Images are resized to 299 px by the rule of clean-fid (`mode="clean"`), then the
pooled 2048 features taken (Parmar et al. 2022).
"""

import warnings
from itertools import islice

import numpy as np
import torch

from eval.features.base import FeatureExtractor
from eval.features.images import Images, as_uint8, resize_clean
from zoo.downloads import UntrustedWeights, find_weights

FILE = "inception-2015-12-05.pt"
SIDE = 299
CHUNK = 32


class Inception(FeatureExtractor):
    """The extractor `inception-v3-tf`.

    With other than the published weights the name carries a part of their hash, and the distances
    are not comparable.

    Args:
        trust: take a file whose hash is not the published one. It is code: TorchScript.
        device: where to run; None is a GPU if there is one.

    Raises:
        MissingWeights: the file is not on this machine.
        UntrustedWeights: it is, with another hash and `trust` off, or it is no such network.
    """

    dim = 2048
    resizer = f"Pillow bicubic, not rounded, to {SIDE} px (clean-fid's clean mode)"

    def __init__(self, *, trust: bool = False, device: str | torch.device | None = None):
        found = find_weights(FILE, trust=trust)
        self.comparable = found.published
        self.name = "inception-v3-tf" + ("" if found.published else f"+{found.sha256[:12]}")
        self.weights_sha256 = found.sha256
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        from cleanfid.inception_torchscript import InceptionV3W  # slow to import

        try:
            with warnings.catch_warnings():  # TorchScript is the form in which it is published
                warnings.filterwarnings("ignore", "`torch.jit.load` is", DeprecationWarning)
                self._net = InceptionV3W(str(found.path.parent), download=False).to(self._device)
        except (RuntimeError, AttributeError) as error:
            raise UntrustedWeights(f"{found.path} is no TorchScript Inception: {error}") from error

    def __call__(self, images: Images) -> np.ndarray:
        """Features (n, 2048), float32."""
        stream = as_uint8(images)
        features = [np.empty((0, self.dim), np.float32)]
        while chunk := list(islice(stream, CHUNK)):
            resized = np.stack([resize_clean(image, (SIDE, SIDE)) for image in chunk])
            batch = torch.from_numpy(resized).permute(0, 3, 1, 2).contiguous().to(self._device)
            with torch.inference_mode():
                features.append(self._net(batch).float().cpu().numpy())
        return np.concatenate(features)
