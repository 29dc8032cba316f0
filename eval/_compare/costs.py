"""What a row costs: speed, size, memory, time, and the time until it was as good as asked."""

from collections.abc import Sequence
from statistics import mean

import numpy as np

from eval._compare.reading import ReadRun
from eval.comparison import Comparison

FACTS = (
    "images_per_s",
    "parameters",
    "translating_parameters",
    "peak_bytes",
    "seconds",
)


def costs(made: Comparison, runs: Sequence[ReadRun]) -> dict[str, dict[str, float | None]]:
    """Means over the runs of each row's table; None where no run tells.

    A row of several runs a seed, one for each task, has the mean over these.

    Args:
        made: has rows and the level.
        runs: all.
    """
    found = {}
    for label in made.rows:
        own = [run for run in runs if run.in_table and run.item.run.row == label]
        if not own:
            continue
        found[label] = {fact: _mean([getattr(run.facts, fact) for run in own]) for fact in FACTS}
        found[label]["seconds_to_level"] = _seconds_to_level(made, own)
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value]
    return float(mean(known)) if known else None


def _seconds_to_level(made: Comparison, runs: Sequence[ReadRun]) -> float | None:
    """Mean over runs that do the level's task; None if one of them never gets there."""
    if made.level is None:
        return None
    doing = [run for run in runs if made.level["task"] in run.facts.tasks.values()]
    times = [seconds_to_level(run, made) for run in doing]
    known = [time for time in times if time is not None]
    return float(mean(known)) if known and len(known) == len(times) else None


def seconds_to_level(run: ReadRun, made: Comparison) -> float | None:
    """Seconds of training until the first evaluation at which a run was as good as the level."""
    assert made.level is not None
    name, task, value = (made.level[key] for key in ("metric", "task", "value"))
    better = next((shown.better for shown in made.metrics if shown.name == name), "lower")
    for images, score in run.facts.curves.get(f"{task}/{name}", []):
        if (score <= float(value)) if better == "lower" else (score >= float(value)):
            if not run.clock.images:
                return None
            return float(np.interp(images, run.clock.images, run.clock.values))
    return None
