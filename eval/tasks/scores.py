"""Scores of classifiers and segmenters.

Everything about a segmenter follows from its confusion matrix: pixels counted by true class (rows)
and predicted class (columns). Matrices of images add up, so one for each image is all that a
bootstrap over images needs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

IGNORE = 255  # label of pixels that do not count
ECE_BINS = 15


def confusion(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int, ignore: int = IGNORE
) -> np.ndarray:
    """Count pixels, or images, by true and predicted class.

    Args:
        labels: whole numbers of any shape, 0 to num_classes - 1, or `ignore`.
        predictions: of the same shape, 0 to num_classes - 1 wherever the label counts.
        num_classes: number of classes.
        ignore: label of what does not count.

    Returns:
        int64 (num_classes, num_classes): true class by predicted class.

    Raises:
        ValueError: different shapes, or a number that is no class.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"labels are {labels.shape}, predictions {predictions.shape}")
    counted = labels != ignore
    true, found = labels[counted].astype(np.int64), predictions[counted].astype(np.int64)
    for name, values in (("label", true), ("prediction", found)):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            bad = values[(values < 0) | (values >= num_classes)][0]
            raise ValueError(f"there is a {name} {bad}; classes are 0 to {num_classes - 1}")
    counts = np.bincount(true * num_classes + found, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def segmentation_scores(matrix: np.ndarray) -> dict[str, Any]:
    """Scores of a confusion matrix, or of a stack of them.

    Long, Shelhamer and Darrell 2015, section 5. A class that has no pixels in the labels has no
    accuracy; one that is in neither labels nor predictions has no IoU. Means leave them out.

    Args:
        matrix: (C, C), or (…, C, C) for one set of scores each.

    Returns:
        `pixel_accuracy`, `class_accuracy` (mean over classes), `mean_iou`, each a number in [0, 1],
        or an array of the leading shape; NaN where nothing counts.
    """
    matrix = np.asarray(matrix, np.float64)
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    scores = {
        "pixel_accuracy": _share(right.sum(-1), matrix.sum((-2, -1))),
        "class_accuracy": _mean(class_accuracies(matrix)),
        "mean_iou": _mean(class_ious(matrix)),
    }
    return scores if matrix.ndim > 2 else {name: float(value) for name, value in scores.items()}


def class_accuracies(matrix: np.ndarray) -> np.ndarray:
    """Share of each class's pixels that are right, (…, C); NaN for a class without pixels."""
    matrix = np.asarray(matrix, np.float64)
    return _share(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1))


def class_ious(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, (…, C); NaN for a class that is nowhere."""
    matrix = np.asarray(matrix, np.float64)
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    return _share(right, matrix.sum(-1) + matrix.sum(-2) - right)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0).sum(-1), known.sum(-1))


def classification_scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Scores of a classifier.

    Args:
        labels: (n,) whole numbers 0 to C - 1.
        probabilities: (n, C), rows sum to 1.

    Returns:
        `accuracy`; `balanced_accuracy`, the mean over classes that have images; `ece`, see
        `calibration_error`. All in [0, 1].

    Raises:
        ValueError: no images, or shapes that do not belong together.
    """
    labels, probabilities = _checked(labels, probabilities)
    num_classes = probabilities.shape[1]
    scores = segmentation_scores(confusion(labels, probabilities.argmax(1), num_classes, ignore=-1))
    return {
        "accuracy": scores["pixel_accuracy"],
        "balanced_accuracy": scores["class_accuracy"],
        "ece": calibration_error(labels, probabilities),
    }


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = ECE_BINS) -> float:
    """Expected calibration error (Guo et al. 2017, Eq. 3) of the most probable class.

    Images are sorted into `bins` equal intervals of confidence, (0, 1/bins], …; each contributes
    |accuracy - mean confidence| by its share of the images.

    Args:
        labels: (n,) whole numbers 0 to C - 1.
        probabilities: (n, C), rows sum to 1.
        bins: number of intervals.

    Returns:
        A number in [0, 1]: 0 where confidence and accuracy agree in every interval.

    Raises:
        ValueError: no images, or shapes that do not belong together.
    """
    labels, probabilities = _checked(labels, probabilities)
    place, gap = confidence_bins(labels, probabilities, bins)
    return float(np.abs(np.bincount(place, gap, minlength=bins)).sum() / len(labels))


def confidence_bins(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = ECE_BINS
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of confidence of each image, and how far its answer was from its confidence.

    Returns:
        int (n,) numbers of intervals, and float (n,) 1 or 0 for right or wrong, less confidence.
    """
    confidence = probabilities.max(1)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return place, (probabilities.argmax(1) == labels) - confidence


def _checked(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ValueError(
            f"labels are {labels.shape} and probabilities {probabilities.shape}; "
            f"wanted (n,) and (n, classes)"
        )
    if not len(labels):
        raise ValueError("there are no images to score")
    return labels, probabilities


def by_class(values: np.ndarray, classes: tuple[str, ...]) -> Mapping[str, Any]:
    """Numbers of classes by their names, None for NaN."""
    return {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(classes, values, strict=True)
    }
