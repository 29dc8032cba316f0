"""A sweep's run folders as facts: scores of the final and of the best checkpoint, curves, cost."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval._compare.plan import Planned, best_images_seen
from eval._report.runs import Curve, RunData, read_run
from eval.comparison import RunFacts
from eval.resamples import FILE as RESAMPLES
from eval.resamples import key_of, read_resamples
from eval.scores import RUN, UNTRANSLATED, Score
from zoo.registry import UserError
from zoo.runs import build_method
from zoo.schema import Recipe

log = logging.getLogger("eval.compare")

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

    def value(self, which: str, key: str) -> float:
        """One of its scores, which are all known."""
        value = self.scores[which][key].value
        assert value is not None
        return value


def read_all(planned: Sequence[Planned], out: Path, metrics: Sequence[str]) -> list[ReadRun]:
    """What is known of every run, in the same order; arguments as for `read_planned`."""
    sizes: dict[tuple[str, ...], int] = {}  # the seeds of a row have the same networks
    found = [read_planned(item, out, metrics) for item in planned]
    for run in found:
        key = (run.facts.row, *run.facts.tasks.values())
        if key not in sizes:
            sizes[key] = translating_parameters(run.item.run.recipe)
        run.facts.translating_parameters = sizes[key]
    return found


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
    facts.images_per_s = data.images_per_s
    facts.seconds = data.clock.values[-1] if data.clock.values else None
    facts.peak_bytes = data.peak_bytes
    facts.curves = _curves(data, item.run.tasks)
    facts.looks = len({at for curve in data.evaluations.values() for at in curve.images})
    facts.best_images_seen = best_images_seen(item.folder)
    facts.warnings = list(data.warnings)


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
    tasks, names = found.item.run.tasks, {name: which for which, name in CHECKPOINTS.items()}
    samples = _resamples(found, data)
    for score in data.scores:
        if score.direction not in tasks or score.metric not in metrics:
            continue
        key = f"{tasks[score.direction]}/{score.metric}"
        if score.value is None:
            reason = score.unavailable or "the reason was not recorded"
            found.unavailable.setdefault(key, reason)
        elif score.translator == UNTRANSLATED:
            found.untranslated.setdefault(key, score)
        elif score.translator == RUN and score.checkpoint in names:
            which = names[score.checkpoint]
            found.scores[which][key] = score
            if key_of(score) in samples:
                found.resampled[which][key] = samples[key_of(score)]
    if found.facts.best_images_seen == found.facts.images_seen:  # scored once
        found.scores["best"] = dict(found.scores["final"])
        found.resampled["best"] = dict(found.resampled["final"])


def _resamples(found: ReadRun, data: RunData) -> Mapping[str, np.ndarray]:
    """What scores.json was computed from, image by image; nothing with a warning."""
    if not data.scores:
        return {}
    try:
        return read_resamples(found.item.folder / RESAMPLES)
    except UserError as error:
        found.facts.warnings.append(f"its scores are compared without images: {error}")
        return {}


def translating_parameters(recipe: Recipe) -> int:
    """Parameters of the networks that translate; 0 where a method cannot be built without data."""
    try:
        with torch.device("meta"):  # takes no memory
            method = build_method(recipe, None)
    except Exception as error:  # plug-ins may raise anything
        log.warning("parameters of %s are not counted: %s", recipe.method.name, error)
        return 0
    return sum(p.numel() for p in {p for net in method.translators() for p in net.parameters()})
