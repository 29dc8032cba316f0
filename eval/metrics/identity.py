"""Identity kept: whether a face network takes a translation for the person of its source.

Papers: Schroff et al. 2015, "FaceNet: A Unified Embedding for Face Recognition and Clustering";
King 2017, dlib's ResNet. Of embeddings e and e' the score is 1 - |e - e'|² / 2, the cosine where
they have length 1, as FaceNet's have. The networks were trained on photos of upright, cut out
faces; the whole picture is given to them, and of a drawing they know little.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from eval.features.own import resized
from eval.metric import Column, Evaluated, Value
from zoo.registry import METRICS


@METRICS.register("identity")
class Identity:
    """Likeness of a face network's embeddings to the source's (Schroff et al. 2015); 1: the same.

    It needs an optional package and its weights, and says which.
    """

    needs: frozenset[str] = frozenset()
    columns = {"identity": Column("Identity kept", "higher", 1, 3)}
    on_untranslated = False  # 1

    @dataclass(kw_only=True)
    class Config:
        """Which network."""

        network: Annotated[
            Literal["facenet", "dlib"],
            "facenet: facenet-pytorch and its weights; dlib: dlib and face_recognition_models",
        ] = "facenet"

    def __init__(self, config: Config):
        from eval.features.faces import EMBEDDERS

        EMBEDDERS[config.network].require()
        self.network = config.network

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "identity"."""
        from eval.features.faces import EMBEDDERS

        embed = _embedder(self.network, data.trust, EMBEDDERS[self.network].require())
        values = likenesses(embed(data.images), embed(data.sources))
        fields = {
            "extractor": embed.name,
            "comparable": embed.comparable,
            "extractor_sha256": embed.weights_sha256,
            "reference": "source",
            "num_real": len(data.sources),
            "resizer": resized(data, f"Pillow bicubic, rounded, to {embed.side} px"),
        }
        return {"identity": Value.of_images(values, **fields)}


@lru_cache(maxsize=1)
def _embedder(network: str, trust: bool, file: Path):
    from eval.features.faces import EMBEDDERS

    return EMBEDDERS[network](trust=trust)


def likenesses(embeddings_a: np.ndarray, embeddings_b: np.ndarray) -> np.ndarray:
    """1 - |a - b|² / 2 of each pair of rows: (n,)."""
    apart = np.asarray(embeddings_a, np.float64) - np.asarray(embeddings_b, np.float64)
    return 1 - (apart**2).sum(1) / 2
