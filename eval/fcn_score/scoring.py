"""Rows of an FCN-score: three numbers of a confusion matrix, with intervals over images."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.fcn_score.colors import nearest_class
from eval.fcn_score.scenes import Scenes
from eval.tasks.data import resize_mask
from eval.tasks.scores import (
    by_class,
    class_accuracies,
    class_ious,
    confusion,
    segmentation_scores,
)

SCORES = ("pixel_accuracy", "class_accuracy", "mean_iou")
RESAMPLES = 1000
LEVEL = 0.95
REAL, RUN, UNTRANSLATED = "real", "run", "untranslated"
FREQUENT, LAYOUT = "most frequent class", "most frequent at each place"
SHUFFLED = "shuffled pairs"
CHANCE = (FREQUENT, LAYOUT, SHUFFLED)
CONTROL = "trained on shuffled labels"


@dataclass(frozen=True)
class Row:
    """What was found in one set of pictures of the scenes.

    Attributes:
        name: REAL, RUN, UNTRANSLATED, one of CHANCE, or CONTROL.
        confusions: int64 (n, C, C) of each scene: pixels by true and by found class.
    """

    name: str
    confusions: np.ndarray

    @property
    def scores(self) -> dict[str, float]:
        """The three scores of all scenes together."""
        return segmentation_scores(self.confusions.sum(0))


def found_in_photos(scenes: Scenes, predictions: Iterable[np.ndarray], name: str) -> list[Row]:
    """A row of what a segmenter says, and for real photos one of what it says of other scenes.

    Args:
        scenes: give the masks.
        predictions: uint8 H W of each scene, in order; brought to the mask's size by the nearest
            pixel where it has another.
        name: of the row; REAL adds the row SHUFFLED, in which the mask of each scene is compared
            with what was found in the scene before.
    """
    rows: dict[str, list[np.ndarray]] = {name: []}
    before, first = None, None
    for i, found in enumerate(predictions):
        mask = scenes.mask_of(i)
        rows[name].append(_confusion(mask, found, scenes))
        if name == REAL:
            first = mask if first is None else first
            if before is not None:
                rows.setdefault(SHUFFLED, []).append(_confusion(mask, before, scenes))
            before = found
    if name == REAL and before is not None and first is not None:
        rows.setdefault(SHUFFLED, []).insert(0, _confusion(first, before, scenes))
    return [Row(key, np.stack(matrices)) for key, matrices in rows.items()]


def found_in_colors(
    scenes: Scenes, pictures: Iterable[np.ndarray], palette: np.ndarray, name: str
) -> list[Row]:
    """A row of label maps read by the nearest colour, brought to the masks' size, and SHUFFLED."""
    return found_in_photos(scenes, (nearest_class(p, palette) for p in pictures), name)


def most_frequent_class(scenes: Scenes) -> Row:
    """The row of always saying the class that most pixels of these scenes have."""
    num_classes = len(scenes.classes)
    counts = np.stack(
        [
            np.bincount(scenes.mask_of(i).ravel(), minlength=256)[:num_classes]
            for i in range(len(scenes))
        ]
    )
    matrices = np.zeros((len(scenes), num_classes, num_classes), np.int64)
    matrices[:, :, counts.sum(0).argmax()] = counts
    return Row(FREQUENT, matrices)


def most_frequent_at_each_place(scenes: Scenes) -> Row:
    """The row of saying at each place the class that most *other* scenes have there.

    It is what a network can learn without looking at the photo. Masks of other sizes than the
    first one's are counted at that size.
    """
    size, num_classes = scenes.mask_of(0).shape, len(scenes.classes)
    counts = np.zeros((num_classes, *size), np.int32)
    numbers = np.arange(num_classes, dtype=np.uint8)[:, None, None]
    for i in range(len(scenes)):
        counts += resize_mask(scenes.mask_of(i), size) == numbers
    matrices = []
    for i in range(len(scenes)):
        mask = scenes.mask_of(i)
        others = (counts - (resize_mask(mask, size) == numbers)).argmax(0).astype(np.uint8)
        matrices.append(_confusion(mask, others, scenes))
    return Row(LAYOUT, np.stack(matrices))


def chance_rows(scenes: Scenes) -> list[Row]:
    """The rows that no picture is needed for."""
    return [most_frequent_class(scenes), most_frequent_at_each_place(scenes)]


def _confusion(mask: np.ndarray, found: np.ndarray, scenes: Scenes) -> np.ndarray:
    return confusion(mask, resize_mask(found, mask.shape), len(scenes.classes))


def resamples(count: int, seed: int) -> np.ndarray:
    """How often each of `count` images is in each bootstrap resample, int64 (RESAMPLES, count)."""
    drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    places = drawn + np.arange(RESAMPLES)[:, None] * count
    return np.bincount(places.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count)


def resampled_scores(row: Row, counts: np.ndarray) -> dict[str, np.ndarray]:
    """The three scores on each resample of the images, (RESAMPLES,) each."""
    n, c, _ = row.confusions.shape
    # Doubles hold pixel counts exactly up to 2^53 and are multiplied faster.
    sums = counts.astype(np.float64) @ row.confusions.reshape(n, c * c).astype(np.float64)
    return segmentation_scores(sums.reshape(len(counts), c, c))


def interval(values: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """The middle 95 % of resampled scores; None without any."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None, None
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def records(rows: list[Row], scenes: Scenes, seed: int) -> list[dict[str, Any]]:
    """The rows as a file holds them, each beside its share of the real photos' score.

    Args:
        rows: of the same scenes, REAL among them.
        scenes: give the classes.
        seed: of the resamples, which are the same for all rows.
    """
    counts = resamples(len(scenes), seed)
    real = next(row for row in rows if row.name == REAL)
    real_resampled = resampled_scores(real, counts)
    return [_record(row, real.scores, counts, real_resampled, scenes) for row in rows]


def _record(
    row: Row,
    real: dict[str, float],
    counts: np.ndarray,
    real_resampled: dict[str, np.ndarray],
    scenes: Scenes,
) -> dict[str, Any]:
    resampled, total = resampled_scores(row, counts), row.confusions.sum(0)
    record: dict[str, Any] = {"row": row.name, "images": len(row.confusions)}
    for name, value in row.scores.items():
        low, high = interval(resampled[name])
        known = np.where(real_resampled[name] > 0, real_resampled[name], np.nan)
        share_low, share_high = interval(resampled[name] / known)
        record[name] = {
            "value": None if np.isnan(value) else value,
            "low": low,
            "high": high,
            "of_real": value / real[name] if real[name] > 0 else None,
            "of_real_low": share_low,
            "of_real_high": share_high,
        }
    record["class_accuracies"] = dict(by_class(class_accuracies(total), scenes.classes))
    record["class_ious"] = dict(by_class(class_ious(total), scenes.classes))
    return record


def chance_of(rows: Iterable[Row]) -> float:
    """The mean IoU that is had without looking at the photo: that of the better chance row."""
    return max(row.scores["mean_iou"] for row in rows if row.name in CHANCE)
