"""Scores during training, by the same protocol as those of finished runs."""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from eval.choosing import AUTO, Chosen, choose, columns
from eval.features import create_extractor
from eval.runner import Translate, pictures, translate_images, undisturbed_random
from eval.scorer import Scorer
from eval.scores import RUN, Score
from zoo.registry import UserError, nearest
from zoo.schema import Recipe

log = logging.getLogger("eval.training")

_OF_DATA = {"pairs", "labels"}  # needs that are told by the data


def make_evaluator(recipe: Recipe) -> "Evaluator | None":
    """What the trainer calls to score while training, or None where the recipe asks for none.

    Raises:
        UserError: the extractor or a metric does not exist or lacks what it needs, or the score by
            which the best checkpoint is chosen cannot be computed.
    """
    return Evaluator(recipe) if recipe.evaluate.every_images else None


class Evaluator:
    """Scores the state of a training.

    The data set and the features of real images are computed once, on first use. Random numbers of
    the training are left alone.

    Attributes:
        best_metric: the key by which the best checkpoint is chosen: "kid_target/mean", averaged
            over directions, or that of one direction.
        higher_is_better: of that score.
    """

    def __init__(self, recipe: Recipe):
        self.recipe, ours, method = recipe, recipe.evaluate, recipe.method
        owner: Any = method.owner
        self.directions: tuple[str, ...] = owner.directions
        score, direction = _best(ours.best, self.directions, method.name)
        self.best_metric = f"{score}/{direction or 'mean'}"
        self.higher_is_better = columns()[score].better == "higher"
        self.extractor = create_extractor(ours.extractor)
        names = [AUTO] if ours.metrics == AUTO else ours.metrics
        self.metrics = choose([*names, score], settings=ours.settings, training=True)
        for chosen in self.metrics:
            if chosen.named:
                self._check(chosen, [direction] if direction else self.directions)

    def _check(self, chosen: Chosen, directions: Sequence[str]) -> None:
        """Refuse a metric that cannot be computed. Data are looked at only if it needs them."""
        fault = chosen.reason
        for direction in directions:
            for need in sorted(chosen.owner.needs):
                if need == "back" and len(self.directions) < 2:
                    fault = fault or f"{self.recipe.method.name} translates in one direction only"
                if need in _OF_DATA:
                    fault = fault or self._scorer.lacks(need, direction)
        if fault:
            ours = self.recipe.evaluate
            asked = f"evaluate.best is {ours.best}, evaluate.metrics {ours.metrics}"
            raise UserError(
                f"the metric {chosen.name!r} cannot be computed in this training: {fault} ({asked})"
            )

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(
            self.recipe.data.build(),
            self.extractor,
            size=self.recipe.data.config.size,
            num_images=self.recipe.evaluate.num_images,
            metrics=self.metrics,
            resamples=0,
        )

    def __call__(self, translate: Translate, images_seen: int) -> dict[str, float]:
        """Score every direction.

        Args:
            translate: as for `translate_images`, with networks in evaluation mode.
            images_seen: by the training, for messages.

        Returns:
            "metric/direction" -> value, and `best_metric`. What cannot be computed is left out.
        """
        with undisturbed_random(seed=0):
            scores = [
                score
                for direction in self.directions
                for score in self._score(translate, direction, images_seen)
            ]
        values = {score.key: score.value for score in scores if score.value is not None}
        name, _, over = self.best_metric.partition("/")
        if over == "mean":
            found = [values[key] for d in self.directions if (key := f"{name}/{d}") in values]
            if len(found) == len(self.directions):
                values[self.best_metric] = sum(found) / len(found)
        return values

    def _score(self, translate: Translate, direction: str, images_seen: int) -> list[Score]:
        try:
            images = list(translate_images(translate, self._scorer.sources(direction), direction))
        except ValueError as error:
            log.warning("not scored at %d images, %s: %s", images_seen, direction, error)
            return []
        return self._scorer.score(
            direction,
            images,
            RUN,
            translate=pictures(translate),
            directions=self.directions,
        )


def _best(wanted: str, directions: Sequence[str], method: str) -> tuple[str, str | None]:
    """The score and the direction of `evaluate.best`; None: the mean over directions.

    Raises:
        UserError: there is no such score or direction.
    """
    score, _, direction = wanted.partition("/")
    known = columns()
    if score not in known:
        raise UserError(
            f"evaluate.best: there is no score {score!r}.{nearest(score, known)} "
            f"Scores: {', '.join(known)}"
        )
    if direction in ("", "mean"):
        return score, None
    if direction not in directions:
        raise UserError(
            f"evaluate.best is {wanted!r}, but {method} translates {' and '.join(directions)}."
            f"{nearest(direction, directions)}"
        )
    return score, direction
