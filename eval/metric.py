"""What a metric is: a registered class that turns translations of test images into named scores.

A metric says what it `needs`; what the data or the machine lack is told in its place, not guessed.
Arithmetic lives in plain functions beside the class, which tests can call with arrays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from eval.features.base import FeatureExtractor

Pictures = Sequence[np.ndarray]  # uint8 H W 3, all of one size

NEEDS = {
    "features": "features of an extractor",
    "pairs": "the true counterpart of each test image",
    "labels": "labelled images",
    "back": "a method that translates in both directions",
}


class Column(NamedTuple):
    """How one score is shown.

    Attributes:
        title: heading of its column, "KID × 100 to target".
        better: which values are better.
        scale: shown value over the stored one.
        decimals: shown.
    """

    title: str
    better: Literal["lower", "higher"]
    scale: float = 1
    decimals: int = 3


@dataclass(frozen=True, kw_only=True)
class Value:
    """One score as a metric computes it.

    Attributes:
        value: the number; None where it cannot be had, for the reason in `reason`.
        per_image: one number for each translation, whose mean is `value`; None where the score is
            of sets.
        resampled: (resamples,) the score on each bootstrap resample of the test images, see
            `Evaluated.resamples`; None: that of `per_image`, or not to be had.
        std: spread of `value` over `spread_over`.
        spread_over: "subsets" or "images".
        fields: further fields of `eval.scores.Score`, such as `subset_size`.
        reason: why there is no value.
    """

    value: float | None
    per_image: np.ndarray | None = None
    resampled: np.ndarray | None = None
    std: float | None = None
    spread_over: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None

    @classmethod
    def of_images(cls, per_image: np.ndarray, **fields: Any) -> "Value":
        """The mean of one number for each translation, with its spread over images."""
        mean, std = float(np.mean(per_image)), float(np.std(per_image))
        return cls(value=mean, per_image=per_image, std=std, spread_over="images", fields=fields)

    @classmethod
    def unavailable(cls, reason: str) -> "Value":
        """No value, where one column of several cannot be had."""
        return cls(value=None, reason=reason)


class Labelled(Protocol):
    """Images with one mapping of labels each, `{"glasses": True, "hair": "black"}`."""

    images: Pictures
    labels: Sequence[Mapping[str, Any]]


@dataclass(kw_only=True)
class Evaluated:
    """What metrics are given: one direction's test images, their translations, and what is known.

    Attributes:
        direction: "a2b" or "b2a".
        sources: the test images that were translated.
        images: their translations, in the same order.
        reals: images of the target domain, that sets of translations are compared with.
        reference: which these are, "test" or "train"; None where nobody said.
        truths: the counterpart of each source in the target domain; None where unknown.
        extractor: of features.
        source_labels: what is known of each source; None where nothing is.
        target_labelled: labelled images of the target domain that are not among the test images;
            None where there are none.
        translate: makes translations of pictures in a direction, uint8 H W 3 each; None where only
            the files are at hand.
        directions: in which `translate` can be called.
        untranslated: the sources themselves stand for translations.
        features_of: looks a set's features up by its role, "images", "reals" or "sources"; computed
            once for all metrics.
        resamples: (resamples, n) row numbers of test images, drawn with replacement. Resample k is
            the same for every method, so that differences between methods are paired; see
            `eval.resampling`. None where no interval is wanted.
        resamples_of_reals: (resamples, m) likewise for `reals`.
        seed: of whatever a metric draws.
        trust: accept files of weights whose hash is not the published one.
    """

    direction: str
    sources: Pictures
    images: Pictures
    reals: Pictures
    reference: str | None = None
    truths: Pictures | None = None
    extractor: FeatureExtractor | None = None
    source_labels: Sequence[Mapping[str, Any]] | None = None
    target_labelled: Labelled | None = None
    translate: Callable[[Pictures, str], Pictures] | None = None
    directions: Sequence[str] = ()
    untranslated: bool = False
    features_of: Callable[[str], np.ndarray] | None = None
    resamples: np.ndarray | None = None
    resamples_of_reals: np.ndarray | None = None
    seed: int = 0
    trust: bool = False

    @cached_property
    def back(self) -> Pictures:
        """The translations translated back, for metrics that need `"back"`."""
        assert self.translate is not None
        return self.translate(self.images, "b2a" if self.direction == "a2b" else "a2b")

    def lacks(self, need: str) -> str | None:
        """Why one of NEEDS cannot be met, or None."""
        other = "b2a" if self.direction == "a2b" else "a2b"
        met = {
            "features": self.features_of is not None,
            "pairs": self.truths is not None,
            "labels": self.source_labels is not None and self.target_labelled is not None,
            "back": self.translate is not None and other in self.directions,
        }
        return None if met[need] else f"it needs {NEEDS[need]}"


class Metric(Protocol):
    """A metric, registered in `zoo.registry.METRICS` by a file in `eval/metrics`.

    Class attributes:
        needs: keys of NEEDS.
        columns: by name of score; more than one where they are computed together.
        on_untranslated: whether the untranslated images can be scored by it.
        default: "always": computed where nobody names metrics; "evaluation": so, but not during
            training; missing: only when named.
    Constructor: `Class(config)` with its nested dataclass `Config`. It raises `MissingWeights` when
    a file of weights is not on this machine; the message says where it goes.
    """

    needs: frozenset[str]
    columns: Mapping[str, Column]

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The scores, by the names of `columns`.

        Raises:
            MetricError: the images or features cannot be scored; the message says why.
        """
