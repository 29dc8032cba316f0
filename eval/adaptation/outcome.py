"""What a trained network said about the test images: enough to score any resample of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from eval.tasks.data import TaskData
from eval.tasks.scores import (
    ECE_BINS,
    by_class,
    class_accuracies,
    class_ious,
    classification_scores,
    confidence_bins,
    confusion,
    segmentation_scores,
)
from eval.tasks.train import image_confusions, probabilities

RESAMPLES = 1000


@dataclass(frozen=True)
class Outcome:
    """Predictions on images with labels.

    Attributes:
        labels: (n,) classes of the images; empty for segmentation.
        said: (n, C) probabilities of a classifier, or (n, C, C) a segmenter's confusion matrix of
            every image.
    """

    labels: np.ndarray
    said: np.ndarray

    @classmethod
    def of(cls, network: nn.Module, data: TaskData) -> "Outcome":
        """Ask a network."""
        if data.task == "segmentation":
            return cls(np.empty(0, np.int64), image_confusions(network, data).astype(np.int32))
        return cls(data.labels(), probabilities(network, data))

    @classmethod
    def read(cls, path: Path) -> "Outcome":
        """Read what `write` wrote."""
        with np.load(path) as kept:
            return cls(kept["labels"], kept["said"])

    def write(self, path: Path) -> None:
        """Write an .npz file."""
        np.savez_compressed(path, labels=self.labels, said=self.said)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.said)

    def scores(self) -> dict[str, float]:
        """All scores, each in [0, 1]; see `eval.tasks.scores`."""
        if self.said.ndim == 3:
            return segmentation_scores(self.said.sum(0))
        return classification_scores(self.labels, self.said)

    def classes(self, names: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        """Scores of every class: accuracy, for segmentation also IoU; None without pixels."""
        if self.said.ndim == 3:
            matrix = self.said.sum(0)
            return {
                "accuracy": by_class(class_accuracies(matrix), names),
                "iou": by_class(class_ious(matrix), names),
            }
        matrix = confusion(self.labels, self.said.argmax(1), len(names), ignore=-1)
        return {"accuracy": by_class(class_accuracies(matrix), names)}

    def resampled(self, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, np.ndarray]:
        """All scores on resamples of the images, (resamples,) each.

        Resample k holds the same images whatever network was asked, so differences are paired.
        """
        n = len(self)
        rows = np.random.default_rng([seed, n]).integers(n, size=(resamples, n))
        times = np.stack([np.bincount(row, minlength=n) for row in rows])  # (resamples, n)
        if self.said.ndim == 3:
            classes = self.said.shape[1]
            sums = times @ self.said.reshape(n, -1).astype(np.float64)
            return segmentation_scores(sums.reshape(-1, classes, classes))
        classes, found = self.said.shape[1], self.said.argmax(1)
        cells = self.labels * classes + found
        sums = np.stack([np.bincount(cells, t, minlength=classes**2) for t in times])
        scores = segmentation_scores(sums.reshape(-1, classes, classes))
        place, gap = confidence_bins(self.labels, self.said)
        gaps = np.stack([np.bincount(place, gap * t, minlength=ECE_BINS) for t in times])
        return {
            "accuracy": scores["pixel_accuracy"],
            "balanced_accuracy": scores["class_accuracy"],
            "ece": np.abs(gaps).sum(1) / n,
        }
