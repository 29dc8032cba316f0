"""A comparison as one long table for other programs: a line for each run, checkpoint and score."""

import csv
import io
from typing import Any

from eval.comparison import Comparison

COLUMNS = (
    "sweep",
    "row",
    "task",
    "direction",
    "seed",
    "null",
    "run",
    "state",
    "checkpoint",
    "images_seen",
    "looks",
    "metric",
    "better",
    "value",
    "low",
    "high",
    "comparable",
    "protocol",
    "commit",
)


def render(made: Comparison) -> str:
    """The text of the file. Values are as computed, not times 100; no value: an empty cell.

    Runs that are not done have one line without a score.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    shown = {metric.name: metric for metric in made.metrics}
    for run in made.runs:
        own: dict[str, Any] = {
            "sweep": made.sweep,
            "row": run.row,
            "seed": run.seed,
            "null": run.row == made.null_row and run.seed in made.null_seeds,
            "run": run.id,
            "state": run.state,
            "commit": run.commit,
        }
        if not run.scores:
            writer.writerow(_plain(own))
        directions = {task: direction for direction, task in run.tasks.items()}
        for checkpoint, scores in run.scores.items():
            best = checkpoint == "best"
            for key, score in scores.items():
                task, _, metric = key.rpartition("/")
                line = own | {
                    "task": task,
                    "direction": directions.get(task),
                    "checkpoint": checkpoint,
                    "images_seen": run.best_images_seen if best else run.images_seen,
                    "looks": run.looks if best else None,
                    "metric": metric,
                    "better": shown[metric].better if metric in shown else None,
                    "value": score.value,
                    "low": score.low,
                    "high": score.high,
                    "comparable": made.comparable.get(task),
                    "protocol": made.protocol.get(task),
                }
                writer.writerow(_plain(line))
    return stream.getvalue()


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    """Without text that a spreadsheet would take for a formula: such gets a ' in front."""
    return {
        key: f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
        for key, value in line.items()
    }
