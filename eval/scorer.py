"""Scores of translated test images, all by one protocol.

Sources are the test images of one domain, brought to the size of training without cropping. What
sets of translations are compared with is the *test* set of the target domain; if that has fewer
than 100 images, its *training* set, unless told otherwise. Every record says which.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from eval import resampling
from eval.checks import MetricError
from eval.choosing import AUTO, Chosen, choose
from eval.features.base import FeatureExtractor
from eval.metric import NEEDS, Evaluated, Pictures, Value
from eval.scores import UNTRANSLATED, PixelHash, Score
from zoo.downloads import MissingWeights, UntrustedWeights
from zoo.images import resize
from zoo.protocols import DataSet, Domain
from zoo.registry import UserError

FEWEST_TEST_IMAGES = 100  # below, the training set of the target is the reference
SIDES = {"a2b": ("a", "b"), "b2a": ("b", "a")}  # direction -> source, target
REFERENCES = ("auto", "test", "train")

Translate = Callable[[Pictures, str], Pictures]  # uint8 H W C, in the channels of the domains


class Images(Sequence[np.ndarray]):
    """Images that are made when asked for, so that a large set need not fit into memory."""

    def __init__(self, get: Callable[[int], np.ndarray], count: int):
        self._get, self._count = get, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):
        return self._get(range(self._count)[index])


class Outcome(NamedTuple):
    """One score and the numbers behind it.

    Attributes:
        score: the record.
        resampled: (resamples,) the score on each bootstrap resample; None where there are none.
        per_image: (n,) one number for each translation; None where the score is of sets.
    """

    score: Score
    resampled: np.ndarray | None = None
    per_image: np.ndarray | None = None


@dataclass
class LabelledImages:
    """See `eval.metric.Labelled`."""

    images: Pictures
    labels: Sequence[Mapping[str, Any]]


class Scorer:
    """Scores translations of one data set's test images.

    Features of real images are computed on first use and kept.

    Args:
        dataset: its test sides are scored.
        extractor: features for FID and KID, see `eval.features`.
        size: side in pixels of sources, references and truths.
        num_images: test images of a side, evenly spaced; 0: all. Bounds the reference as well.
        reference: "test", "train", or "auto".
        seed: of whatever metrics draw, and of the resamples.
        metrics: names, or what `eval.choosing.choose` made of them.
        resamples: of the intervals; 0: no intervals.
        trust: accept files of weights whose hash is not the published one.

    Raises:
        UserError: a reference or metric that does not exist, or a negative number of images.
    """

    def __init__(
        self,
        dataset: DataSet,
        extractor: FeatureExtractor,
        *,
        size: int,
        num_images: int = 0,
        reference: str = "auto",
        seed: int = 0,
        metrics: Sequence[str] | Sequence[Chosen] | str = AUTO,
        resamples: int = resampling.RESAMPLES,
        trust: bool = False,
    ):
        if reference not in REFERENCES:
            raise UserError(f"reference is {reference!r}; it can be {', '.join(REFERENCES)}")
        if num_images < 0:
            raise UserError(f"num_images is {num_images}; 0 means all, less cannot be")
        self.dataset, self.extractor, self.size = dataset, extractor, size
        self.num_images, self.reference, self.seed = num_images, reference, seed
        self.resamples, self.trust = resamples, trust
        made = [one for one in metrics if isinstance(one, Chosen)]
        self.metrics = made or choose([str(name) for name in _listed(metrics)])
        self._kept: dict[tuple[str, str], np.ndarray] = {}

    # What is compared ---------------------------------------------------------------------------

    def names(self, direction: str) -> list[str]:
        """Names of the sources of a direction."""
        names = self.dataset.domain("test", SIDES[direction][0]).names
        return [names[i] for i in self._chosen(len(names))]

    def sources(self, direction: str) -> Images:
        """Test images that a direction starts from, uint8 size size C."""
        return self._resized(self.dataset.domain("test", SIDES[direction][0]))

    def truths(self, direction: str) -> Images | None:
        """Their counterparts, or None where they are not known."""
        truth = self.dataset.truth(SIDES[direction][0])
        return None if truth is None else self._resized(truth)

    def reference_split(self, direction: str) -> str:
        """Which images of the target domain sets are compared with, "test" or "train"."""
        if self.reference != "auto":
            return self.reference
        test = self.dataset.domain("test", SIDES[direction][1])
        return "test" if len(test) >= FEWEST_TEST_IMAGES else "train"

    @functools.cached_property
    def test_images(self) -> str:
        """Hash of the test images of both sides as they are scored."""
        pixels = PixelHash()
        for direction in SIDES:
            for image in self.sources(direction):
                pixels.add(image)
        return pixels.hexdigest()

    def _resized(self, domain: Domain) -> Images:
        chosen = self._chosen(len(domain))
        return Images(lambda i: resize(domain[chosen[i]], self.size), len(chosen))

    def _chosen(self, count: int) -> range | list[int]:
        wanted = self.num_images or count
        return range(count) if wanted >= count else [i * count // wanted for i in range(wanted)]

    def _features(self, split: str, side: str) -> np.ndarray:
        key = (split, side)
        if key not in self._kept:
            images = _coloured(self._resized(self.dataset.domain(split, side)))
            self._kept[key] = self.extractor(images)
        return self._kept[key]

    # Scoring ------------------------------------------------------------------------------------

    def score(
        self, direction: str, images: Sequence[np.ndarray], translator: str, **more: Any
    ) -> list[Score]:
        """The records of `measure`, with the same arguments."""
        return [outcome.score for outcome in self.measure(direction, images, translator, **more)]

    def score_untranslated(self, direction: str) -> list[Score]:
        """The scores of the source images themselves: what a translation has to improve on."""
        return self.score(direction, self.sources(direction), UNTRANSLATED)

    def measure_untranslated(self, direction: str) -> list[Outcome]:
        """The same with the numbers behind them."""
        return self.measure(direction, self.sources(direction), UNTRANSLATED)

    def measure(
        self,
        direction: str,
        images: Sequence[np.ndarray],
        translator: str,
        *,
        translate: Translate | None = None,
        directions: Sequence[str] = (),
        **origin: Any,
    ) -> list[Outcome]:
        """All scores of one direction's translations.

        A metric that was not named and lacks what it needs is left out; one that was, and one that
        cannot be computed, has records that say why.

        Args:
            direction: "a2b" or "b2a".
            images: uint8 size size C, in the order of `sources`.
            translator: who made them, see `Score`.
            translate: makes translations, for metrics that need further ones.
            directions: in which it can be called.
            **origin: further fields of `Score` for every record.

        Raises:
            ValueError: another number of images than there are sources.
        """
        data = self._evaluated(direction, images, translator, translate, directions)
        fields = {"direction": direction, "translator": translator, "num_fake": len(images)}
        fields |= {"image_size": self.size, "test_images": self.test_images, **origin}
        outcomes = []
        for chosen in self.metrics:
            values = _values(chosen, data)
            if values is None:
                continue
            shared = fields | self._protocol(chosen.owner.needs, data)
            outcomes += [
                self._outcome(shared | {"metric": name}, values[name], data)
                for name in chosen.owner.columns
                if name in values
            ]
        return outcomes

    def _evaluated(
        self,
        direction: str,
        images: Sequence[np.ndarray],
        translator: str,
        translate: Translate | None,
        directions: Sequence[str],
    ) -> Evaluated:
        """What metrics are given."""
        sources, truths = self.sources(direction), self.truths(direction)
        if len(images) != len(sources):
            raise ValueError(f"{len(images)} translations of {len(sources)} test images")
        source, target = SIDES[direction]
        split = self.reference_split(direction)
        reals = self._resized(self.dataset.domain(split, target))
        colour = _coloured(images)
        features = {
            "sources": lambda: self._features("test", source),
            "reals": lambda: self._features(split, target),
            "images": lambda: self.extractor(colour),
        }

        @functools.cache
        def features_of(role: str) -> np.ndarray:
            return features[role]()

        def drawn(count: int, stream: int) -> np.ndarray | None:
            few = not self.resamples or count < 2
            return None if few else resampling.draw(self.seed, count, self.resamples, stream)

        labelled = any("labels" in chosen.owner.needs for chosen in self.metrics)
        return Evaluated(
            direction=direction,
            sources=_coloured(sources),
            images=colour,
            reals=_coloured(reals),
            reference=split,
            truths=None if truths is None else _coloured(truths),
            extractor=self.extractor,
            source_labels=self._source_labels(source) if labelled else None,
            target_labelled=self._target_labelled(target) if labelled else None,
            translate=None if translate is None else self._in_colour(translate),
            directions=directions,
            untranslated=translator == UNTRANSLATED,
            features_of=features_of,
            resamples=drawn(len(images), resampling.IMAGES),
            resamples_of_reals=drawn(len(reals), resampling.REALS),
            seed=self.seed,
            trust=self.trust,
        )

    def lacks(self, need: str, direction: str) -> str | None:
        """Why the data cannot meet one of the needs "pairs" and "labels", or None."""
        source, target = SIDES[direction]
        met = {
            "pairs": lambda: self.dataset.truth(source) is not None,
            "labels": lambda: (
                self._source_labels(source) is not None
                and self._target_labelled(target) is not None
            ),
        }
        return None if met[need]() else f"it needs {NEEDS[need]}"

    def _source_labels(self, side: str) -> list[Mapping[str, Any]] | None:
        known = getattr(self.dataset, "attributes", lambda side: None)(side)
        return None if known is None else [known[i] for i in self._chosen(len(known))]

    def _target_labelled(self, side: str) -> LabelledImages | None:
        """Labelled training images, which are none of the test images."""
        labels = getattr(self.dataset, "training_attributes", lambda side: None)(side)
        if labels is None:
            return None
        domain = self.dataset.domain("train", side)
        images = Images(lambda i: resize(domain[i], self.size), len(domain))
        return LabelledImages(_coloured(images), labels)

    def _in_colour(self, translate: Translate) -> Translate:
        """`translate` of pictures H W 3, whatever channels its domains have."""

        def translate_coloured(pictures: Pictures, direction: str) -> Pictures:
            channels = self.sources(direction)[0].shape[2]
            given = Images(lambda i: pictures[i][:, :, :channels], len(pictures))
            return _coloured(translate(given, direction))

        return translate_coloured

    def _protocol(self, needs: frozenset[str], data: Evaluated) -> dict[str, Any]:
        """What a record says about how its score was taken."""
        sized = f"Pillow bicubic to {self.size} px"
        if "features" in needs:
            return {
                "extractor": self.extractor.name,
                "comparable": self.extractor.comparable,
                "extractor_sha256": self.extractor.weights_sha256,
                "reference": self.reference_split(data.direction),
                "num_real": len(data.reals),
                "resizer": f"{sized}; extractor: {self.extractor.resizer}",
            }
        if "pairs" in needs:
            count = 0 if data.truths is None else len(data.truths)
            return {"reference": "truth", "num_real": count, "resizer": sized}
        return {"resizer": sized}

    def _outcome(self, fields: dict[str, Any], value: Value, data: Evaluated) -> Outcome:
        """The record of a value, with its interval."""
        resampled = value.resampled
        if resampled is None and value.per_image is not None and data.resamples is not None:
            resampled = resampling.resampled_means(value.per_image, data.resamples)
        fields |= {"value": value.value, "std": value.std, "spread_over": value.spread_over}
        fields |= {"unavailable": value.reason, **value.fields}
        ends = None if value.value is None else resampling.interval(resampled)
        if ends is None or resampled is None:
            return Outcome(Score(**fields), None, value.per_image)
        fields |= {"low": ends[0], "high": ends[1]}
        fields |= {"interval": resampling.described(len(resampled)), "seed": self.seed}
        return Outcome(Score(**fields), resampled, value.per_image)


def _values(chosen: Chosen, data: Evaluated) -> dict[str, Value] | None:
    """What a metric gives, or the reasons why it does not; None: nobody asked."""
    lacking = [text for need in sorted(chosen.owner.needs) if (text := data.lacks(need))]
    if lacking and not chosen.named:
        return None
    if chosen.reason is not None:
        lacking.append(chosen.reason)
    if data.untranslated and not chosen.owner.on_untranslated:
        lacking = ["the untranslated images cannot be scored by it"]
    if not lacking:
        assert chosen.metric is not None
        try:
            return chosen.metric(data)
        except (MetricError, MissingWeights, UntrustedWeights) as error:
            lacking = [str(error)]
    return {name: Value.unavailable("; ".join(lacking)) for name in chosen.owner.columns}


def _listed(names: Sequence[Any] | str) -> Sequence[Any]:
    return [names] if isinstance(names, str) else names


def _coloured(images: Sequence[np.ndarray]) -> Images:
    return Images(lambda i: in_colour(images[i]), len(images))


def in_colour(image: np.ndarray) -> np.ndarray:
    """Grey images as three equal channels, H W 3."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
