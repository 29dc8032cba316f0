"""Scores of translated test images, all by one protocol.

Sources are the test images of one domain, brought to the size of training without cropping. What
FID and KID compare with is the *test* set of the target domain; if that has fewer than 100 images,
its *training* set, unless told otherwise. Every record says which.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from eval.checks import MetricError
from eval.features.base import FeatureExtractor
from eval.metrics.fid import frechet_distance
from eval.metrics.kid import KernelDistance, kernel_distance, kid_source_target_mean
from eval.metrics.pixel import l1, ssim
from eval.scores import UNTRANSLATED, PixelHash, Score
from zoo.images import resize
from zoo.protocols import DataSet, Domain
from zoo.registry import UserError

FEWEST_TEST_IMAGES = 100  # below, the training set of the target is the reference
SIDES = {"a2b": ("a", "b"), "b2a": ("b", "a")}  # direction -> source, target
REFERENCES = ("auto", "test", "train")


class Images(Sequence[np.ndarray]):
    """Images that are made when asked for, so that a large set need not fit into memory."""

    def __init__(self, get: Callable[[int], np.ndarray], count: int):
        self._get, self._count = get, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):
        return self._get(range(self._count)[index])


class Scorer:
    """Scores translations of one data set's test images.

    Features of real images are computed on first use and kept.

    Args:
        dataset: its test sides are scored.
        extractor: features for FID and KID, see `eval.features`.
        size: side in pixels of sources, references and truths.
        num_images: test images of a side, evenly spaced; 0: all. Bounds the reference as well.
        reference: "test", "train", or "auto".
        seed: of KID's subsets.
        with_lpips: whether to compute LPIPS, where there is a truth and its weights are present.
        trust: accept weights of LPIPS whose hash is not the published one.

    Raises:
        UserError: a reference that does not exist, or a negative number of images.
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
        with_lpips: bool = True,
        trust: bool = False,
    ):
        if reference not in REFERENCES:
            raise UserError(f"reference is {reference!r}; it can be {', '.join(REFERENCES)}")
        if num_images < 0:
            raise UserError(f"num_images is {num_images}; 0 means all, less cannot be")
        self.dataset, self.extractor, self.size = dataset, extractor, size
        self.num_images, self.reference, self.seed = num_images, reference, seed
        self.with_lpips, self.trust = with_lpips, trust
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
        """Which images of the target domain FID and KID compare with, "test" or "train"."""
        if self.reference != "auto":
            return self.reference
        test = self.dataset.domain("test", SIDES[direction][1])
        return "test" if len(test) >= FEWEST_TEST_IMAGES else "train"

    @cached_property
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
            self._kept[key] = self._extract(self._resized(self.dataset.domain(split, side)))
        return self._kept[key]

    def _extract(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return self.extractor(_coloured(images))

    # Scoring ------------------------------------------------------------------------------------

    def score(
        self, direction: str, images: Sequence[np.ndarray], translator: str, **origin: Any
    ) -> list[Score]:
        """All scores of one direction's translations.

        Args:
            direction: "a2b" or "b2a".
            images: uint8 size size C, in the order of `sources`.
            translator: who made them, see `Score`.
            **origin: further fields of `Score` for every record.

        Raises:
            ValueError: another number of images than there are sources.
        """
        if len(images) != len(self.sources(direction)):
            raise ValueError(
                f"{len(images)} translations of {len(self.sources(direction))} test images"
            )
        fields = {"direction": direction, "translator": translator, **self._common(), **origin}
        fields["num_fake"] = len(images)
        fake = self._extract(images)
        scores = self._distances(direction, fake, fields)
        return scores + self._to_truth(direction, images, fields)

    def score_untranslated(self, direction: str) -> list[Score]:
        """The scores of the source images themselves: what a translation has to improve on."""
        return self.score(direction, self.sources(direction), UNTRANSLATED)

    def _common(self) -> dict[str, Any]:
        return {"image_size": self.size, "test_images": self.test_images}

    def _distances(self, direction: str, fake: np.ndarray, fields: dict[str, Any]) -> list[Score]:
        source, target = SIDES[direction]
        split = self.reference_split(direction)
        real = self._features(split, target)
        fields = fields | {
            "extractor": self.extractor.name,
            "comparable": self.extractor.comparable,
            "extractor_sha256": self.extractor.weights_sha256,
            "reference": split,
            "num_real": len(real),
            "resizer": f"Pillow bicubic to {self.size} px; extractor: {self.extractor.resizer}",
        }
        seed = self.seed
        scores = [
            _attempt("fid", fields, lambda: frechet_distance(fake, real)),
            _attempt("kid_target", fields, lambda: kernel_distance(fake, real, seed=seed)),
        ]
        if fields["translator"] == UNTRANSLATED:
            reason = "the untranslated images would be compared with themselves"
            scores.append(_score("kid_source_target_mean", fields, unavailable=reason))
            return scores
        sources = self._features("test", source)
        scores.append(
            _attempt(
                "kid_source_target_mean",
                fields,
                lambda: kid_source_target_mean(fake, real, sources, seed=seed),
            )
        )
        return scores

    def _to_truth(
        self, direction: str, images: Sequence[np.ndarray], fields: dict[str, Any]
    ) -> list[Score]:
        """Mean distances of each image from its counterpart."""
        truths = self.truths(direction)
        if truths is None:
            return []
        pair = (_coloured(images), _coloured(truths))
        fields = fields | {
            "reference": "truth",
            "num_real": len(truths),
            "resizer": f"Pillow bicubic to {self.size} px",
        }
        scores = [
            _attempt("l1", fields, lambda: l1(*pair)),
            _attempt("ssim", fields, lambda: ssim(*pair)),
        ]
        if not self.with_lpips:
            return scores
        try:
            lpips = self._perceptual
        except UserError as error:
            return [*scores, _score("lpips", fields, unavailable=str(error))]
        fields |= {
            "extractor": lpips.name,
            "comparable": lpips.comparable,
            "extractor_sha256": lpips.weights_sha256,
        }
        return [*scores, _attempt("lpips", fields, lambda: lpips(*pair))]

    @cached_property
    def _perceptual(self) -> Any:
        from eval.perceptual import Perceptual  # loads torchvision, hence only on use

        return Perceptual(trust=self.trust)


def _attempt(
    metric: str, fields: dict[str, Any], compute: Callable[[], float | KernelDistance | np.ndarray]
) -> Score:
    """The score, or the reason why it cannot be had."""
    try:
        result = compute()
    except MetricError as error:
        return _score(metric, fields, unavailable=str(error))
    if isinstance(result, KernelDistance):
        return _score(
            metric,
            fields,
            value=result.mean,
            std=result.std,
            spread_over="subsets",
            subset_size=result.subset_size,
            num_subsets=result.num_subsets,
            seed=result.seed,
        )
    if isinstance(result, np.ndarray):  # one number an image
        mean, spread = float(result.mean()), float(result.std())
        return _score(metric, fields, value=mean, std=spread, spread_over="images")
    return _score(metric, fields, value=result)


def _score(metric: str, fields: dict[str, Any], **more: Any) -> Score:
    return Score(**{"metric": metric, "value": None, **fields, **more})


def _coloured(images: Sequence[np.ndarray]) -> Images:
    return Images(lambda i: in_colour(images[i]), len(images))


def in_colour(image: np.ndarray) -> np.ndarray:
    """Grey images as three equal channels, H W 3."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
