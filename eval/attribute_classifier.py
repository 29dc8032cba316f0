"""A small classifier of attributes of images, trained where it is needed, the same every time.

An image is brought to 48 px. Its features are histograms of gradient orientation (Dalal and Triggs
2005) and mean colours, in cells of 4 px; on these stands one multinomial logistic regression for
each attribute, classes weighed alike. It learns from every image twice, as it is and blurred, noisy
and tinted, so that it reads translations whose sharpness and grain are not those of real images.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

from eval.metric import Pictures

SIDE = 48
CELL = 4
ORIENTATIONS = 8  # signed: dark to bright is not bright to dark
CHUNK = 64  # images at once
MOST_BLUR, MOST_TINT, MOST_NOISE = 1.2, 12.0, 15.0  # σ in px, σ and σ in grey levels
MOST_SHADE = 0.15
SHRINKAGE = 0.01  # of weights, squared
STEPS = 60  # of the optimiser
FEWEST_OF_CLASS = 4  # labelled images
MOST_CLASSES = 20  # numbers with more different values are split at their median
CONVINCING = 0.5  # of the way from chance to perfect, on real images


@dataclass(frozen=True)
class Attribute:
    """What one attribute can be.

    Attributes:
        name: its key among the labels.
        classes: values in order; empty for numbers, which are split in two.
        threshold: numbers above are the second class.
    """

    name: str
    classes: tuple[Any, ...] = ()
    threshold: float = 0.0

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.classes) or 2

    @property
    def title(self) -> str:
        """Its name, with the threshold."""
        return self.name if self.classes else f"{self.name} > {self.threshold:.3g}"

    def numbers(self, labels: Iterable[Mapping[str, Any]]) -> np.ndarray:
        """The class of each image as a number; -1 where it is missing or unknown."""
        return np.array([self._number(label.get(self.name)) for label in labels], int)

    def _number(self, value: Any) -> int:
        if self.classes:
            return self.classes.index(value) if value in self.classes else -1
        known = isinstance(value, int | float) and np.isfinite(value)
        return int(value > self.threshold) if known else -1


def attributes_of(labels: Sequence[Mapping[str, Any]]) -> tuple[list[Attribute], dict[str, str]]:
    """The attributes that can be learnt from labels, and why others cannot, by name.

    True and False, words, and numbers of few different values are classes; other numbers are
    split at their median.
    """
    found, refused = [], {}
    for name in dict.fromkeys(key for label in labels for key in label):
        values = [label[name] for label in labels if _said(label.get(name))]
        if not all(isinstance(value, str | int | float) for value in values):
            refused[name] = "its values are neither numbers nor words nor true or false"
            continue
        different = sorted(set(values), key=lambda value: (isinstance(value, str), value))
        if len(different) < 2:
            refused[name] = "all labelled images have the same value"
            continue
        if all(isinstance(value, int | float) for value in values):
            if len(different) > MOST_CLASSES:
                found.append(Attribute(name, threshold=float(np.median(values))))
                continue
        elif len(different) > MOST_CLASSES:
            refused[name] = f"it has {len(different)} values; {MOST_CLASSES} can be learnt"
            continue
        fewest = min(different, key=values.count)
        if values.count(fewest) < FEWEST_OF_CLASS:
            refused[name] = f"{values.count(fewest)} labelled image(s) of {fewest!r}"
            continue
        found.append(Attribute(name, tuple(different)))
    return found, refused


def _said(value: Any) -> bool:
    return value is not None and value == value  # NaN is not


class Classifier:
    """Tells attributes of images.

    Args:
        images: uint8 H W 3 each.
        labels: one mapping an image.
        attributes: to be learnt.
        seed: of the blur, noise and tint of second copies.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        labels: Sequence[Mapping[str, Any]],
        attributes: Sequence[Attribute],
        seed: int = 0,
    ):
        self.attributes = list(attributes)
        small = [_small(image) for image in images]
        rng = np.random.default_rng(seed)
        plain, worn = features(small), features(_worn(image, rng) for image in small)
        x = np.concatenate([plain, worn])
        self._centre = x.mean(0)
        self._scale = x.std(0).clip(min=x.std() / 100 + 1e-6)
        numbers = [np.tile(attribute.numbers(labels), 2) for attribute in self.attributes]
        counts = [attribute.count for attribute in self.attributes]
        self._weights = _fitted(self._standard(x), numbers, counts)

    def __call__(self, images: Pictures) -> dict[str, np.ndarray]:
        """The number of each image's class, (n,), by name of the attribute."""
        x = self._standard(features(_small(image) for image in images))
        bounds = np.cumsum([attribute.count for attribute in self.attributes])[:-1]
        scores = np.split(x @ self._weights, bounds, axis=1)
        return {
            attribute.name: score.argmax(1)
            for attribute, score in zip(self.attributes, scores, strict=True)
        }

    def _standard(self, x: np.ndarray) -> np.ndarray:
        """Centred and scaled, and a constant."""
        x = (x - self._centre) / self._scale
        return np.hstack([x, np.ones((len(x), 1))])


def balanced_accuracy(found: np.ndarray, wanted: np.ndarray) -> float:
    """The share found of each class, averaged over the classes that occur; -1 is no class."""
    shares = [(found[wanted == k] == k).mean() for k in np.unique(wanted[wanted >= 0])]
    return float(np.mean(shares))


def convincing(accuracy: float, count: int) -> bool:
    """Whether a balanced accuracy is clearly above the chance of so many classes."""
    chance = 1 / count
    return accuracy >= chance + CONVINCING * (1 - chance)


# Features ----------------------------------------------------------------------------------------


def features(images: Iterable[np.ndarray]) -> np.ndarray:
    """Orientation histograms and colours.

    Args:
        images: float SIDE SIDE 3 each, in [0, 255].

    Returns:
        float64 (n, numbers).
    """
    images = iter(images)
    chunks = []
    while chunk := list(islice(images, CHUNK)):
        x = np.stack(chunk).astype(np.float32) / 255
        chunks.append(np.hstack([np.sqrt(_cells(_orientations(x))), _cells(x)]))
    return np.concatenate(chunks).astype(np.float64) if chunks else np.empty((0, 0))


def _orientations(x: np.ndarray) -> np.ndarray:
    """N H W ORIENTATIONS: length of the gradient of the steepest channel, by its direction."""
    across, down = np.zeros_like(x), np.zeros_like(x)
    across[:, :, 1:-1] = x[:, :, 2:] - x[:, :, :-2]
    down[:, 1:-1] = x[:, 2:] - x[:, :-2]
    length = np.hypot(across, down)
    steepest = length.argmax(-1)[..., None]
    across, down, length = (
        np.take_along_axis(values, steepest, -1)[..., 0] for values in (across, down, length)
    )
    place = np.arctan2(down, across) / (2 * np.pi) * ORIENTATIONS  # a circle of bins
    low = np.floor(place)
    share = place - low
    found = np.zeros((*place.shape, ORIENTATIONS), np.float32)
    for bins, shares in ((low, 1 - share), (low + 1, share)):
        index = (bins.astype(int) % ORIENTATIONS)[..., None]
        values = np.take_along_axis(found, index, -1) + (length * shares)[..., None]
        np.put_along_axis(found, index, values, -1)
    return found


def _cells(maps: np.ndarray) -> np.ndarray:
    """Means in cells of CELL x CELL, N H W C to (N, numbers)."""
    n, height, width, channels = maps.shape
    cells = maps.reshape(n, height // CELL, CELL, width // CELL, CELL, channels)
    return cells.mean((2, 4)).reshape(n, -1)


def _small(image: np.ndarray) -> np.ndarray:
    resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.array(resized, np.float32)


def _worn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurred, shaded, tinted and noisy."""
    blur = rng.uniform(0, MOST_BLUR)
    image = gaussian_filter(image, (blur, blur, 0)) * rng.uniform(1 - MOST_SHADE, 1 + MOST_SHADE)
    image = image + rng.normal(0, rng.uniform(0, MOST_TINT), 3)
    return (image + rng.normal(0, rng.uniform(0, MOST_NOISE), image.shape)).clip(0, 255)


# Regression --------------------------------------------------------------------------------------


def _fitted(x: np.ndarray, numbers: Sequence[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """Weights of one logistic regression for each attribute, side by side.

    Args:
        x: (n, d), the last column a constant, whose weights do not shrink.
        numbers: for each attribute (n,) classes, -1 where unknown.
        counts: of classes.

    Returns:
        (d, sum of counts).
    """
    targets = np.zeros((len(x), sum(counts)))
    shares = np.zeros((len(x), len(counts)))  # of an image, so that classes weigh alike
    ends = np.cumsum(counts)
    for k, (number, count, end) in enumerate(zip(numbers, counts, ends, strict=True)):
        known = number >= 0
        targets[known, end - count + number[known]] = 1
        occurs = np.bincount(number[known], minlength=count)
        shares[known, k] = 1 / (occurs[number[known]] * (occurs > 0).sum())
    shrink = np.full((x.shape[1], 1), SHRINKAGE)
    shrink[-1] = 0

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(x.shape[1], -1)
        scores = x @ weights
        total, slopes = (shrink * weights**2).sum(), np.empty_like(scores)
        for k, (count, end) in enumerate(zip(counts, ends, strict=True)):
            block = slice(end - count, end)
            score = scores[:, block] - scores[:, block].max(1, keepdims=True)
            logs = score - np.log(np.exp(score).sum(1, keepdims=True))
            total -= (shares[:, k, None] * targets[:, block] * logs).sum()
            slopes[:, block] = shares[:, k, None] * (np.exp(logs) - targets[:, block])
        return total, (x.T @ slopes + 2 * shrink * weights).ravel()

    start = np.zeros(x.shape[1] * sum(counts))
    done = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return done.x.reshape(x.shape[1], -1)
