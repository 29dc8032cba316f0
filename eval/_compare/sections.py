"""What tables of a comparison hold, as plain text; `markdown` and `latex` dress it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eval._compare.words import (
    between,
    duration,
    gibibytes,
    millions,
    printed,
    seen_from,
    signed,
)
from eval.comparison import Comparison, Interval, PublishedTable, Shown

LEGEND = {
    "best": "the best mean of the final checkpoints",
    "tie": "its difference from the best is a tie: the 95 % interval of the difference holds 0",
}
COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "images_per_s": ("images/s", lambda value: f"{value:.1f}"),
    "seconds": ("training", duration),
    "seconds_to_level": ("time to level", duration),
    "peak_bytes": ("peak memory", gibibytes),
    "parameters": ("parameters", millions),
    "translating_parameters": ("of these translate", millions),
}


@dataclass
class Text:
    """One cell.

    Attributes:
        value: printed number or word.
        span: printed interval.
        mark: "best", "tie" or nothing.
    """

    value: str
    span: str = ""
    mark: str = ""


@dataclass
class Table:
    """Rows under heads; the first cell of each row is its label."""

    title: str
    heads: list[str]
    rows: list[list[Text]]
    notes: list[str] = field(default_factory=list)


def score_tables(made: Comparison, task: str, which: str, most: int) -> list[Table]:
    """The scores of a task over seeds, of the final or of the best checkpoints.

    Args:
        made: the comparison.
        task: its column.
        which: "final" or "best".
        most: scores in one table; the rest goes into further ones.
    """
    groups = [made.metrics[i : i + most] for i in range(0, len(made.metrics), most)]
    tables = [_score_table(made, task, which, group) for group in groups]
    found = [table for table in tables if table is not None]
    for number, table in enumerate(found, 1) if len(found) > 1 else ():
        table.title += f" ({number} of {len(found)})"
    for table in found[:-1]:
        table.notes = []
    return found


def _score_table(made: Comparison, task: str, which: str, metrics: Sequence[Shown]) -> Table | None:
    cells = made.cells.get(which, {})
    rows, over = [], set()
    for label in made.rows:
        found = {m.name: cells.get(label, {}).get(f"{task}/{m.name}") for m in metrics}
        scored = [cell for cell in found.values() if cell is not None]
        if not scored:
            continue
        over |= {cell.over for cell in scored if cell.low is not None}
        line = [Text(label), Text(_seeds(made, max(len(cell.values) for cell in scored)))]
        for metric in metrics:
            cell = found[metric.name]
            mark = "" if which == "best" else mark_of(made, label, f"{task}/{metric.name}")
            line.append(Text("–") if cell is None else score_text(cell, metric, mark))
        rows.append(line)
    if not rows:
        return None
    lines = baseline_lines(made, task, metrics) if which == "final" else []
    notes = [made.protocol.get(task, "")]
    if over:
        notes.append(f"In brackets: 95 % intervals over {' or '.join(sorted(over))}.")
    if made.comparable.get(task) is False:
        notes.append(
            "Features other than those of published FID and KID: not comparable with them."
        )
    if which == "best":
        notes.append(
            f"The best checkpoint was chosen on the test images, {looks(made)}: its scores flatter."
        )
    heads = ["row", "seeds", *(head(metric) for metric in metrics)]
    title = f"{task}, {which} checkpoint"
    return Table(title, heads, rows + lines, [note for note in notes if note])


def head(shown: Shown) -> str:
    """Heading of a score with the direction that is better."""
    return f"{shown.title} {'↓' if shown.better == 'lower' else '↑'}"


def score_text(cell: Interval, shown: Shown, mark: str = "") -> Text:
    """A mean with its interval."""
    return Text(printed(cell.value, shown), between(cell.low, cell.high, shown), mark)


def mark_of(made: Comparison, label: str, key: str) -> str:
    """Whether a row is the best by a score, or ties with it."""
    if made.best.get(key) == label:
        return "best"
    return "tie" if label in made.ties.get(key, []) else ""


def _seeds(made: Comparison, count: int) -> str:
    return str(count) if count == len(made.seeds) else f"{count} of {len(made.seeds)}"


def looks(made: Comparison) -> str:
    """From how many evaluations best checkpoints were chosen."""
    counts = sorted({run.looks for run in made.runs if run.scores.get("best")})
    if not counts or not counts[-1]:
        return "from a number of looks that was not recorded"
    return f"best of {' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))} looks"


def baseline_lines(made: Comparison, task: str, metrics: Sequence[Shown]) -> list[list[Text]]:
    """Rows of what needs no training, where a score of the task is known."""
    lines = []
    for label, values in made.baselines.items():
        own = [values.get(f"{task}/{metric.name}") for metric in metrics]
        if any(value is not None for value in own):
            pairs = zip(own, metrics, strict=True)
            texts = [Text("–" if v is None else printed(v, metric)) for v, metric in pairs]
            lines.append([Text(label), Text("–"), *texts])
    return lines


def difference_table(made: Comparison, task: str, shown: Shown) -> Table | None:
    """Every row less the best one; None where there is nothing to compare."""
    key = f"{task}/{shown.name}"
    best, rows, tests = made.best.get(key), [], {}
    for label in made.rows:
        found = seen_from(label, best, made.differences.get(key, [])) if best else None
        if found is None:
            continue
        tests[found.test] = True
        rows.append(
            [
                Text(label),
                Text(signed(found.value, shown), between(found.low, found.high, shown)),
                Text(p_value(found.p)),
                Text(p_value(found.p_holm)),
                Text("tie" if found.tie else "differs", mark="tie" if found.tie else ""),
            ]
        )
    if not rows:
        return None
    heads = ["row", f"less {best}", "p", "p, Holm", "verdict"]
    notes = [f"{shown.title}. Each: {'; '.join(tests)}."]
    return Table(f"{task}, {shown.title}: differences from the best", heads, rows, notes)


def p_value(p: float | None) -> str:
    """Such as "0.032" or "< 0.001"."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def null_table(made: Comparison) -> Table | None:
    """The null comparison; None if there is none."""
    rows = []
    for task in made.tasks:
        for shown in made.metrics:
            found = made.null.get(f"{task}/{shown.name}")
            if found is not None:
                span = between(found.low, found.high, shown)
                verdict = "tie" if found.tie else "differs, by chance alone"
                texts = [
                    Text(signed(found.value, shown), span),
                    Text(p_value(found.p)),
                    Text(verdict),
                ]
                rows.append([Text(task), Text(shown.title), *texts])
    if not rows:
        return None
    first, second = (" ".join(map(str, seeds)) for seeds in (made.seeds, made.null_seeds))
    note = (
        f"The same row, seeds {first} less seeds {second}: what chance alone makes. About one of "
        f"twenty such lines comes out as a difference."
    )
    heads = ["task", "score", "difference", "p", "verdict"]
    return Table(f"Null comparison: {made.null_row} with itself", heads, rows, [note])


def correlation_table(made: Comparison) -> Table | None:
    """Whether scores order the runs as the distance to the truth does; None if it is not known."""
    titles = {shown.name: shown.title for shown in made.metrics}
    rows = []
    for task, truths in made.correlations.items():
        for truth, metrics in truths.items():
            for name, (value, *ends) in metrics.items():
                span = f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""
                row = [Text(task), Text(titles.get(name, name)), Text(titles.get(truth, truth))]
                rows.append([*row, Text(f"{value:.2f}", span)])
    if not rows:
        return None
    note = "Spearman's rank correlation over the final scores of all runs; 1: the same order."
    heads = ["task", "score", "against", "rank correlation"]
    return Table("Do scores order the runs as the truth does?", heads, rows, [note])


def cost_table(made: Comparison) -> Table | None:
    """Cost of each row; columns that nobody knows are left out."""
    known = [
        name
        for name in COSTS
        if any(costs.get(name) is not None for costs in made.costs.values())
        or (name == "seconds_to_level" and made.level is not None)
    ]
    rows = [
        [Text(label), *(_cost(name, costs.get(name)) for name in known)]
        for label, costs in made.costs.items()
    ]
    if not rows or not known:
        return None
    notes = ["Means over seeds. Time of training includes its evaluations."]
    if made.level is not None:
        shown = next((m for m in made.metrics if m.name == made.level["metric"]), None)
        value = float(made.level["value"])
        name = str(made.level["metric"]) if shown is None else shown.title
        said = f"{value:g}" if shown is None else printed(value, shown)
        notes.append(
            f"Level: {name} of {said} on {made.level['task']}, at an evaluation during training; a "
            f"dash where a seed never reached it."
        )
    return Table("Cost", ["row", *(COSTS[name][0] for name in known)], rows, notes)


def _cost(name: str, value: float | None) -> Text:
    return Text("–" if value is None else COSTS[name][1](value))


def published_table(made: Comparison, table: PublishedTable) -> Table:
    """Numbers as printed in the paper; beside them ours in their unit, if the score is ours."""
    shown = next((m for m in made.metrics if m.name == table.metric), None)
    tasks = [t for t in made.tasks if any(t in values for values in table.values.values())]
    heads, rows = ["row"], []
    for task in tasks:
        heads += [task, f"{task}, ours"] if shown else [task]
    for label, values in table.values.items():
        line = [Text(label)]
        for task in tasks:
            line.append(Text(" ± ".join(f"{v:g}" for v in values.get(task, [])) or "–"))
            if shown:
                cell = made.cells.get("final", {}).get(label, {}).get(f"{task}/{shown.name}")
                line.append(_ours(cell, shown, table))
        rows.append(line)
    notes = [f"Published as: {table.convention}; {table.better} is better."]
    if not table.verified:
        notes.append("Copied from memory or second hand: look it up before you quote it.")
    if shown and any(made.comparable.get(task) is False for task in tasks) and not shown.truth:
        notes.append("Ours are on other features: only the order of rows can be set side by side.")
    return Table(f"{table.source}: {table.metric}", heads, rows, notes)


def _ours(cell: Interval | None, shown: Shown, table: PublishedTable) -> Text:
    if cell is None:
        return Text("–")
    theirs = Shown(name=shown.name, title=shown.title, scale=table.scale, decimals=shown.decimals)
    return score_text(cell, theirs)


def run_rows(made: Comparison) -> Sequence[tuple[str, str, str, str, str]]:
    """Of each run: id, state with images, best, commit, folder."""
    rows = []
    for run in made.runs:
        state = f"{run.state}, {run.images_seen} of {run.images} images"
        best = (
            "–" if run.best_images_seen is None else f"{run.best_images_seen} of {run.looks} looks"
        )
        rows.append((run.id, state, best, (run.commit or "–")[:12], run.folder))
    return rows
