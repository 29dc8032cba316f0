"""What the scores of a sweep's runs say: rows over seeds, which differ, what chance alone makes."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from eval._compare.reading import ReadRun
from eval.checks import MetricError
from eval.comparison import Comparison, Shown
from eval.significance import holm, rank_correlation
from eval.statistics import Row, difference, mean_interval


def judge(made: Comparison, runs: Sequence[ReadRun]) -> None:
    """Fill the cells, differences, ties, the null comparison and the correlations.

    Args:
        made: has tasks, metrics, rows and seeds; receives the rest.
        runs: all, with scores that may be compared.
    """
    table = [run for run in runs if run.in_table]
    keys = [f"{task}/{shown.name}" for task in made.tasks for shown in made.metrics]
    for which in ("final", "best"):
        rows = _rows(table, made.rows, keys, which)
        made.cells[which] = {
            label: {key: mean_interval(row) for key, row in cells.items()}
            for label, cells in rows.items()
        }
        if which == "final":
            for key, shown in itertools.product(keys, made.metrics):
                if key.endswith(f"/{shown.name}"):
                    _compare(
                        made, key, shown, [cells[key] for cells in rows.values() if key in cells]
                    )
    _judge_null(made, runs, keys)
    made.correlations = correlations(made, [run for run in runs if run.facts.state == "done"])


def _rows(
    runs: Sequence[ReadRun], labels: Sequence[str], keys: Sequence[str], which: str
) -> dict[str, dict[str, Row]]:
    """Label -> "task/metric" -> the scores of its seeds."""
    found: dict[str, dict[str, Row]] = {label: {} for label in labels}
    for label, key in itertools.product(labels, keys):
        row = row_of(label, [run for run in runs if run.item.run.row == label], key, which)
        if row is not None:
            found[label][key] = row
    return found


def row_of(label: str, runs: Iterable[ReadRun], key: str, which: str) -> Row | None:
    """Scores of runs, one for each seed, with their resamples if all have as many."""
    scored = sorted((run for run in runs if key in run.scores[which]), key=lambda r: r.facts.seed)
    if not scored:
        return None
    values = [run.value(which, key) for run in scored]
    resampled = [run.resampled[which][key] for run in scored if key in run.resampled[which]]
    whole = len(resampled) == len(scored) and len({len(samples) for samples in resampled}) == 1
    together = np.stack(resampled) if whole else None
    return Row(label=label, values=values, resampled=together)


def _compare(made: Comparison, key: str, shown: Shown, rows: Sequence[Row]) -> None:
    """Every pair of rows, the best one, and those that it is not shown to be better than."""
    found = [difference(a, b) for a, b in itertools.combinations(rows, 2)]
    tested = [pair for pair in found if pair.p is not None]
    for pair, p in zip(tested, holm([pair.p or 0.0 for pair in tested]), strict=True):
        pair.p_holm = float(p)
    made.differences[key] = found
    means = {row.label: float(np.mean(row.values)) for row in rows}
    if not means:
        return
    pick = min if shown.better == "lower" else max
    best = pick(means, key=lambda label: means[label])
    made.best[key] = best
    made.ties[key] = [
        pair.b if pair.a == best else pair.a
        for pair in found
        if pair.tie and best in (pair.a, pair.b)
    ]


def _judge_null(made: Comparison, runs: Sequence[ReadRun], keys: Sequence[str]) -> None:
    """The null comparison's row against itself with further seeds."""
    done = [run for run in runs if run.facts.state == "done" and run.item.run.row == made.null_row]
    halves = [[run for run in done if run.item.run.null == null] for null in (False, True)]
    for key in keys if all(halves) else ():
        rows = [
            row_of(f"{made.null_row}, seeds {_seeds(half)}", half, key, "final") for half in halves
        ]
        if rows[0] is not None and rows[1] is not None:
            made.null[key] = difference(rows[0], rows[1])


def _seeds(runs: Sequence[ReadRun]) -> str:
    return " ".join(str(seed) for seed in sorted(run.facts.seed for run in runs))


def correlations(
    made: Comparison, runs: Sequence[ReadRun]
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Whether metrics order the runs as the distance to the truth does.

    Values for which higher is better are turned round first, so that 1 always means the same order.

    Args:
        made: has tasks and metrics.
        runs: done ones, those of the null comparison among them.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    truths = [shown for shown in made.metrics if shown.truth]
    for task, truth, other in itertools.product(made.tasks, truths, made.metrics):
        if other is truth:
            continue
        keys = (f"{task}/{truth.name}", f"{task}/{other.name}")
        both = [run for run in runs if set(keys) <= set(run.scores["final"])]
        x, y = (
            [_worse(shown) * run.value("final", key) for run in both]
            for key, shown in zip(keys, (truth, other), strict=True)
        )
        try:
            rank = rank_correlation(x, y)
        except MetricError:  # too few runs, or all alike
            continue
        ends = [] if rank.low is None or rank.high is None else [rank.low, rank.high]
        found.setdefault(task, {}).setdefault(truth.name, {})[other.name] = [
            rank.value,
            *ends,
        ]
    return found


def _worse(shown: Shown) -> int:
    return 1 if shown.better == "lower" else -1
