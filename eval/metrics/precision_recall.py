"""Are translations like real images, and are all kinds of real images among them?

A set's manifold is the union of balls around its images, each as far as its k-th nearest neighbour
in the set. With F the translations and R the real images:

- precision: the share of F in the manifold of R; recall: the share of R in the manifold of F
  (Kynkäänniemi et al. 2019, Eq. 2 and 3), k = 3;
- density: of each of F, the number of balls of R that hold it over k, averaged; coverage: the share
  of R whose ball holds one of F at least (Naeem et al. 2020, Eq. 4 and 5), k = 5.

Balls are closed, as in the first paper's code; that of the second has them open, which differs only
at equal distances.
"""

from dataclasses import dataclass, replace

import numpy as np

from eval.checks import MetricError, checked_pair
from eval.metric import Column, Evaluated, Value
from eval.neighbours import distance_blocks, neighbour_distances
from eval.resampling import around, times_drawn
from zoo.registry import METRICS

NEIGHBOURS = 3  # of precision and recall
COVER_NEIGHBOURS = 5  # of density and coverage


@METRICS.register("precision_recall")
class PrecisionRecall:
    """Precision, recall, density and coverage (Kynkäänniemi et al. 2019, Naeem et al. 2020)."""

    needs = frozenset({"features"})
    columns = {
        "precision": Column("Precision", "higher", 1, 3),
        "recall": Column("Recall", "higher", 1, 3),
        "density": Column("Density", "higher", 1, 3),
        "coverage": Column("Coverage", "higher", 1, 3),
    }
    on_untranslated = True
    default = "evaluation"

    @dataclass(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config):
        self.config = config

    def __call__(self, data: Evaluated) -> dict[str, Value]:
        """The four scores."""
        assert data.features_of is not None
        return precision_recall(
            data.features_of("images"),
            data.features_of("reals"),
            data.resamples,
            data.resamples_of_reals,
        )


def precision_recall(
    fake: np.ndarray,
    real: np.ndarray,
    rows_fake: np.ndarray | None = None,
    rows_real: np.ndarray | None = None,
) -> dict[str, Value]:
    """Precision, recall, density and coverage of two sets of features.

    Args:
        fake: (n, d), one row a translation, n > COVER_NEIGHBOURS.
        real: (m, d), m > COVER_NEIGHBOURS.
        rows_fake: (resamples, n) row numbers; None: no resamples.
        rows_real: (resamples, m).

    Returns:
        By name. In a resample the balls are those of the whole sets, as a repeated image would
        be its own neighbour; only balls and points of images that were drawn count.

    Raises:
        MetricError: for unusable features or too few images.
    """
    fake, real = checked_pair(fake, real)
    for name, x in (("translations", fake), ("real images", real)):
        if len(x) <= COVER_NEIGHBOURS:
            raise MetricError(
                f"{len(x)} {name}; density and coverage look at {COVER_NEIGHBOURS} neighbours and "
                f"need {COVER_NEIGHBOURS + 1} images at least"
            )
    near, cover = neighbour_distances(real, [NEIGHBOURS, COVER_NEIGHBOURS])
    (fake_near,) = neighbour_distances(fake, [NEIGHBOURS])
    plain = _Counts(np.ones((1, len(fake)), np.float32), np.ones((1, len(real)), np.float32))
    drawn = None
    if rows_fake is not None and rows_real is not None:
        drawn = _Counts(_times(rows_fake), _times(rows_real))
    precise, dense = np.empty(len(fake)), np.empty(len(fake))
    for rows, distances in distance_blocks(fake, real):
        in_near, in_cover = distances <= near, distances <= cover
        in_fake = distances <= fake_near[rows, None]
        precise[rows] = in_near.any(1)
        dense[rows] = in_cover.sum(1) / COVER_NEIGHBOURS
        for counts in (plain, drawn):
            if counts is not None:
                counts.add(rows, in_near, in_cover, in_fake)
    found = {name: float(score[0]) for name, score in plain.scores().items()}
    values = {
        "precision": Value.of_images(precise),
        "recall": Value(value=found["recall"]),
        "density": Value.of_images(dense),
        "coverage": Value(value=found["coverage"]),
    }
    if drawn is None:
        return values
    resampled = {
        name: around(score, found[name]).clip(0, None if name == "density" else 1)
        for name, score in drawn.scores().items()
    }
    return {name: replace(value, resampled=resampled[name]) for name, value in values.items()}


def _times(rows: np.ndarray) -> np.ndarray:
    return times_drawn(rows).astype(np.float32)


class _Counts:
    """The four scores for several weightings of the images at once.

    Args:
        fake: float32 (weightings, n), how often each translation counts.
        real: float32 (weightings, m).
    """

    def __init__(self, fake: np.ndarray, real: np.ndarray):
        self.fake, self.real = fake, real
        self.precise, self.dense = np.zeros(len(fake)), np.zeros(len(fake))
        self.holders = np.zeros((2, *real.shape), np.float32)  # that each real image is covered by

    def add(
        self, rows: slice, in_near: np.ndarray, in_cover: np.ndarray, in_fake: np.ndarray
    ) -> None:
        """Add a block of translations; each mask is (rows, m)."""
        fake = self.fake[:, rows]
        inside = self.real @ in_near.T.astype(np.float32)
        self.precise += (fake * (inside > 0)).sum(1, dtype=np.float64)
        covering = fake @ in_cover.astype(np.float32)
        self.dense += (covering * self.real).sum(1, dtype=np.float64)
        self.holders[0] += fake @ in_fake.astype(np.float32)
        self.holders[1] += covering

    def scores(self) -> dict[str, np.ndarray]:
        n, m = self.fake.shape[1], self.real.shape[1]
        recalled, covered = ((held > 0) * self.real for held in self.holders)
        return {
            "precision": self.precise / n,
            "density": self.dense / n / COVER_NEIGHBOURS,
            "recall": recalled.sum(1, dtype=np.float64) / m,
            "coverage": covered.sum(1, dtype=np.float64) / m,
        }
