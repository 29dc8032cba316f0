"""Face embeddings: vectors that are near for photos of one person. Optional, of other packages.

The whole picture is taken for the face: no face is looked for and none is turned upright.
"""

import importlib.util
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch

from eval.features.images import Images, as_uint8
from eval.features.vit import read_state, resize_bicubic
from zoo.downloads import (
    MissingWeights,
    UntrustedWeights,
    find_weights,
    require_weights,
    sha256_of,
    weights_folder,
)

CHUNK = 16
DLIB_FILE = "dlib_face_recognition_resnet_model_v1.dat"


class FaceEmbedder(ABC):
    """A network that tells faces apart.

    Attributes:
        name: with a part of the weights' hash if they are not the published ones.
        comparable: whether they are.
        weights_sha256: hash of their file.
        side: to which pictures are resized, pixels.
    """

    name: str
    comparable: bool
    weights_sha256: str
    side: int

    def __call__(self, images: Images) -> np.ndarray:
        """Embeddings (n, dim), float32; arguments as for a `FeatureExtractor`."""
        faces = [resize_bicubic(image, self.side) for image in as_uint8(images)]
        parts = [self._embed(np.stack(faces[i : i + CHUNK])) for i in range(0, len(faces), CHUNK)]
        return np.concatenate(parts)

    @abstractmethod
    def _embed(self, faces: np.ndarray) -> np.ndarray:
        """uint8 N side side 3 to (N, dim)."""


class FaceNet(FaceEmbedder):
    """Inception-ResNet v1 trained on VGGFace2 (Schroff et al. 2015), of facenet-pytorch.

    512 numbers of length 1.
    """

    side = 160

    def __init__(self, *, trust: bool = False):
        FaceNet.require()
        from facenet_pytorch import InceptionResnetV1

        found = find_weights("20180402-114759-vggface2.pt", trust=trust)
        self.comparable = found.published
        self.name = "facenet-vggface2" + ("" if found.published else f"+{found.sha256[:12]}")
        self.weights_sha256 = found.sha256
        try:
            with torch.device("meta"):
                net = InceptionResnetV1(pretrained=None)
            state = read_state(found.path)  # with a layer for training, which the network lacks
            state = {name: v for name, v in state.items() if not name.startswith("logits.")}
            net.load_state_dict(state, assign=True)
        except Exception as error:  # a pickle of something else fails in many ways
            raise UntrustedWeights(f"{found.path} does not hold FaceNet: {error}") from error
        self._net = net.eval().requires_grad_(False)

    @staticmethod
    def require() -> Path:
        """The file of weights. Raises `MissingWeights` for what is missing."""
        if importlib.util.find_spec("facenet_pytorch") is None:
            raise MissingWeights(
                "identity kept needs the package facenet-pytorch, which is not installed: "
                "pip install --no-deps facenet-pytorch (its other requirements ask for an old "
                "torch and are not needed)"
            )
        return require_weights("20180402-114759-vggface2.pt")

    def _embed(self, faces: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(faces).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            return self._net((batch - 127.5) / 128).numpy()


class Dlib(FaceEmbedder):
    """dlib's face network (King 2017), whose weights come with `face_recognition_models`.

    128 numbers; photos of one person are less than 0.6 apart.
    """

    side = 150

    def __init__(self, *, trust: bool = False):
        path = Dlib.require()
        import dlib

        self.weights_sha256 = sha256_of(path)
        self.comparable = False  # nobody is known to publish its hash
        self.name = f"dlib-resnet-v1+{self.weights_sha256[:12]}"
        try:
            self._net = dlib.face_recognition_model_v1(str(path))
        except RuntimeError as error:
            raise UntrustedWeights(f"{path} does not hold dlib's network: {error}") from error

    @staticmethod
    def require() -> Path:
        """The file of weights. Raises `MissingWeights` for what is missing."""
        if importlib.util.find_spec("dlib") is None:
            raise MissingWeights(
                "identity kept by dlib needs the package dlib, which is not installed: "
                "pip install dlib-bin face_recognition_models"
            )
        package = importlib.util.find_spec("face_recognition_models")
        folders = list(package.submodule_search_locations or []) if package else []
        places = [weights_folder(), *(Path(folder) / "models" for folder in folders)]
        for place in places:
            if (place / DLIB_FILE).is_file():
                return place / DLIB_FILE
        raise MissingWeights(
            f"identity kept by dlib needs {DLIB_FILE}: pip install face_recognition_models, which "
            f"brings it, or put it into {weights_folder()}"
        )

    def _embed(self, faces: np.ndarray) -> np.ndarray:
        return np.array([self._net.compute_face_descriptor(face) for face in faces], np.float32)


EMBEDDERS: dict[str, type[FaceNet] | type[Dlib]] = {"facenet": FaceNet, "dlib": Dlib}
