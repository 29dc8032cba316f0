"""Do translations keep the attributes of their sources: glasses, colour of hair, pose?

A classifier is trained on labelled real images of the target domain, a quarter of them held out,
and asked about the translations; what is known of the sources is the answer. A score is the
balanced accuracy (each class counts alike, so that a guess scores 1 / classes), averaged over
attributes.
Beside it stand what the classifier scores on real images held out, above which no translation can
be expected, and chance. Attributes that it cannot tell on real images are left out.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.attribute_classifier import (
    Attribute,
    Classifier,
    attributes_of,
    balanced_accuracy,
    convincing,
)
from eval.checks import MetricError
from eval.metric import Column, Evaluated, Labelled, Pictures, Value
from zoo.registry import METRICS

MOST_LABELLED = 1000  # images that are learnt from
FEWEST_LABELLED = 40
HELD_OUT = 4  # every fourth


@METRICS.register("attributes")
class Attributes:
    """Attributes kept, told by a classifier that is trained on labelled images of the target."""

    needs = frozenset({"labels"})
    columns = {
        "attributes": Column("Attributes kept", "higher", 1, 3),
        "attributes_ceiling": Column("Attributes, real images", "higher", 1, 3),
    }
    on_untranslated = True
    default = "evaluation"

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config):
        self.config = config
        self._learnt: dict[str, Learnt] = {}

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The score "attributes", and "attributes_ceiling", that of real images."""
        assert data.target_labelled is not None
        assert data.source_labels is not None
        learnt = self._learn(data.target_labelled, data.seed)
        kept = attributes_kept(learnt, data.images, data.source_labels)
        titles = {attribute.name: attribute.title for attribute in learnt.attributes}
        kept_by, real_by = (
            {titles[name]: value for name, value in values.items()}
            for values in (kept.accuracy, kept.ceiling)
        )
        chance = mean_of(kept.chance)
        details = {
            "chance": chance,
            "ceiling": mean_of(kept.ceiling),
            "labelled": min(len(data.target_labelled.images), MOST_LABELLED),
            "by_attribute": kept_by,
            "refused": kept.refused,
        }
        real = {"chance": chance, "by_attribute": real_by}
        return {
            "attributes": Value(
                value=float(kept.per_image.mean()),
                per_image=kept.per_image,
                fields={"details": details},
            ),
            "attributes_ceiling": Value(value=mean_of(kept.ceiling), fields={"details": real}),
        }

    def _learn(self, labelled: Labelled, seed: int) -> "Learnt":
        """A classifier for each set of labelled images, trained once."""
        images, labels = _chosen(labelled)
        key = hashlib.sha256(repr((seed, labels)).encode())
        for image in images:
            key.update(repr(image.shape).encode())
            key.update(np.ascontiguousarray(image).data)
        name = key.hexdigest()
        if name not in self._learnt:
            self._learnt[name] = learn(images, labels, seed)
        return self._learnt[name]


@dataclass(frozen=True)
class Learnt:
    """A classifier and what it is good for.

    Attributes:
        classifier: of all attributes that could be learnt.
        accuracy: balanced, on labelled images held out, by attribute.
        refused: why an attribute is not told, by name.
    """

    classifier: Classifier
    accuracy: Mapping[str, float]
    refused: Mapping[str, str]

    @property
    def attributes(self) -> list[Attribute]:
        """Those that it tells on real images."""
        return [a for a in self.classifier.attributes if a.name not in self.refused]


@dataclass(frozen=True)
class Kept:
    """How far translations keep attributes.

    Attributes:
        per_image: (n,), whose mean is the mean of `accuracy`.
        accuracy: balanced, on translations, by attribute.
        ceiling: on real images.
        chance: of guesses.
        refused: why an attribute is not scored, by name.
    """

    per_image: np.ndarray
    accuracy: dict[str, float]
    ceiling: dict[str, float]
    chance: dict[str, float]
    refused: dict[str, str]


def learn(images: Sequence[np.ndarray], labels: Sequence[Mapping[str, Any]], seed: int) -> Learnt:
    """Train the classifier on three quarters of labelled images and try it on the others.

    Args:
        images: uint8 H W 3 each.
        labels: one mapping an image.
        seed: of the split and of what the training draws.

    Raises:
        MetricError: too few images, or no attribute that it could tell.
    """
    if len(images) < FEWEST_LABELLED:
        raise MetricError(
            f"{len(images)} labelled images of the target domain; {FEWEST_LABELLED} are needed"
        )
    order = np.random.default_rng(seed).permutation(len(images))
    held, used = np.sort(order[::HELD_OUT]), np.sort(order[np.arange(len(order)) % HELD_OUT > 0])
    attributes, refused = attributes_of([labels[i] for i in used])
    if not attributes:
        raise MetricError(f"no attribute can be learnt: {_listed(refused)}")
    classifier = Classifier([images[i] for i in used], [labels[i] for i in used], attributes, seed)
    found = classifier([images[i] for i in held])
    accuracy = {}
    for attribute in attributes:
        wanted = attribute.numbers(labels[i] for i in held)
        if len(np.unique(wanted[wanted >= 0])) < 2:
            refused[attribute.name] = "the labelled images held out are all of one class"
            continue
        accuracy[attribute.name] = balanced_accuracy(found[attribute.name], wanted)
        if not convincing(accuracy[attribute.name], attribute.count):
            refused[attribute.name] = (
                f"the classifier finds {accuracy[attribute.name]:.2f} of {attribute.count} classes "
                f"on real images, chance {1 / attribute.count:.2f}"
            )
    learnt = Learnt(classifier, accuracy, refused)
    if not learnt.attributes:
        raise MetricError(f"no attribute is told on real images: {_listed(refused)}")
    return learnt


def attributes_kept(learnt: Learnt, images: Pictures, labels: Sequence[Mapping[str, Any]]) -> Kept:
    """Compare what the classifier sees in translations with what is known of their sources.

    Args:
        learnt: from `learn`.
        images: translations, uint8 H W 3 each.
        labels: of their sources, in the same order.

    Raises:
        MetricError: other numbers, or no attribute in which sources differ.
    """
    if len(images) != len(labels):
        raise MetricError(f"{len(images)} translations of {len(labels)} labelled sources")
    refused = dict(learnt.refused)
    found = learnt.classifier(images) if len(images) else {}
    shares, accuracy, chance = [], {}, {}
    for attribute in learnt.attributes:
        wanted = attribute.numbers(labels)
        occurs = np.bincount(wanted[wanted >= 0], minlength=attribute.count)
        classes = int((occurs > 0).sum())
        if classes < 2:
            refused[attribute.name] = "the sources do not differ in it"
            continue
        share = np.zeros(len(images))
        right = (wanted >= 0) & (found[attribute.name] == wanted)
        share[right] = len(images) / (classes * occurs[wanted[right]])
        shares.append(share)
        accuracy[attribute.name], chance[attribute.name] = float(share.mean()), 1 / classes
    if not shares:
        raise MetricError(f"no attribute can be scored: {_listed(refused)}")
    ceiling = {name: learnt.accuracy[name] for name in accuracy}
    return Kept(np.mean(shares, 0), accuracy, ceiling, chance, refused)


def mean_of(by_name: Mapping[str, float]) -> float:
    """Over attributes."""
    return float(np.mean(list(by_name.values())))


def _chosen(labelled: Labelled) -> tuple[list[np.ndarray], list[Mapping[str, Any]]]:
    """At most MOST_LABELLED images, evenly spaced."""
    count = len(labelled.images)
    wanted = min(count, MOST_LABELLED)
    rows = [i * count // wanted for i in range(wanted)]
    return [labelled.images[i] for i in rows], [labelled.labels[i] for i in rows]


def _listed(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in refused.items()) or "there are none"
