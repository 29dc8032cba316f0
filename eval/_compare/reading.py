"""A sweep's run folders as facts: scores of the final and of the best checkpoint, curves, cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval._compare.plan import Planned
from eval._report.runs import Curve, RunData, read_run
from eval.comparison import Interval, RunFacts
from eval.scores import RUN, UNTRANSLATED, Score, read_resamples
from zoo import checkpoint
from zoo.recipe import dump_recipe
from zoo.registry import UserError
from zoo.runs import build_method

CHECKPOINTS = {"final": "latest", "best": "best"}  # here -> in scores.json


@dataclass
class ReadRun:
    """One run and what is computed with.

    Attributes:
        item: its place in the sweep.
        facts: for showing.
        scores: "final" and "best" -> "task/metric" -> its record.
        resampled: likewise -> the score on each resample of the test images.
        untranslated: "task/metric" -> the record of doing nothing.
        unavailable: "task/metric" -> why it could not be scored.
        clock: seconds of training against images seen.
    """

    item: Planned
    facts: RunFacts
    scores: dict[str, dict[str, Score]] = field(default_factory=lambda: {"final": {}, "best": {}})
    resampled: dict[str, dict[str, np.ndarray]] = field(
        default_factory=lambda: {"final": {}, "best": {}}
    )
    untranslated: dict[str, Score] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    clock: Curve = field(default_factory=Curve)

    @property
    def in_table(self) -> bool:
        """Whether its scores count: it is done, and no half of the null comparison."""
        return self.facts.state == "done" and not self.item.run.null


def read_planned(item: Planned, out: Path, metrics: Sequence[str]) -> ReadRun:
    """What is known of a run; what is missing or broken becomes a warning.

    Args:
        item: the run.
        out: the sweep's folder, that links start from.
        metrics: names of scores to read.
    """
    run = item.run
    facts = RunFacts(
        id=item.id,
        folder=Path(relpath(item.folder, out.resolve())).as_posix(),
        row=run.row,
        seed=run.seed,
        tasks=dict(run.tasks),
        state=item.state(),
        command=item.command(),
        images=item.images,
    )
    found = ReadRun(item, facts)
    if facts.state == "failed":
        facts.reason = item.failure()
    if facts.state == "missing" or item.images_seen() is None:
        return found
    data = read_run(item.folder, item.id)
    _fill_facts(facts, item, data)
    found.clock = data.clock
    _fill_scores(found, data, metrics)
    return found


def _fill_facts(facts: RunFacts, item: Planned, data: RunData) -> None:
    facts.command = data.command or facts.command
    facts.commit = _text(data.get("provenance", "commit"))
    versions = data.get("provenance", "versions")
    facts.versions = {str(k): str(v) for k, v in versions.items()} if versions else {}
    facts.started = _text(data.get("provenance", "started"))
    facts.device = _text(data.get("provenance", "gpu") or data.get("provenance", "device"))
    facts.images_seen = item.images_seen() or 0
    facts.parameters = sum(data.parameters.values())
    facts.translating_parameters = _translating(dump_recipe(item.run.recipe), item)
    facts.images_per_s = data.images_per_s
    facts.seconds = data.clock.values[-1] if data.clock.values else None
    facts.peak_bytes = data.peak_bytes
    facts.curves = _curves(data, item.run.tasks)
    facts.looks = len({at for curve in data.evaluations.values() for at in curve.images})
    facts.best_images_seen = best_images_seen(item.folder)
    facts.warnings = list(data.warnings)


def best_images_seen(folder: Path) -> int | None:
    """When a run's best checkpoint was saved; None: none was kept."""
    try:
        best = checkpoint.checkpoints_of(folder) / "best"
        kept = best.parent / best.read_text().strip()
        return int(checkpoint.read_manifest(kept)["images_seen"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _curves(data: RunData, tasks: Mapping[str, str]) -> dict[str, list[list[float]]]:
    """Scores during training by "task/metric"."""
    found = {}
    for key, curve in data.evaluations.items():
        metric, _, direction = key.partition("/")
        if direction in tasks:
            points = zip(curve.images, curve.values, strict=True)
            found[f"{tasks[direction]}/{metric}"] = [[float(x), float(y)] for x, y in points]
    return found


def _fill_scores(found: ReadRun, data: RunData, metrics: Sequence[str]) -> None:
    tasks, names = found.item.run.tasks, {v: k for k, v in CHECKPOINTS.items()}
    for score in data.scores:
        if score.direction not in tasks or score.metric not in metrics:
            continue
        key = f"{tasks[score.direction]}/{score.metric}"
        if score.value is None:
            found.unavailable.setdefault(key, score.unavailable or "the reason was not recorded")
        elif score.translator == UNTRANSLATED:
            found.untranslated.setdefault(key, score)
        elif score.translator == RUN and score.checkpoint in names:
            which = names[score.checkpoint]
            found.scores[which].setdefault(key, score)
            found.facts.scores.setdefault(which, {})[key] = Interval(
                value=score.value, low=score.low, high=score.high
            )
    for which, name in CHECKPOINTS.items():
        for key in found.scores[which]:
            task, _, metric = key.partition("/")
            direction = next(d for d, t in tasks.items() if t == task)
            samples = _resamples(found, metric, direction, name)
            if samples is not None:
                found.resampled[which][key] = samples


def _resamples(found: ReadRun, metric: str, direction: str, name: str) -> np.ndarray | None:
    raise NotImplementedError


@cache
def _translating(recipe_text: str, item: Planned) -> int:
    """Parameters of the networks that translate; 0 where they cannot be counted without data."""
    raise NotImplementedError
