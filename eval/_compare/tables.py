"""Tables of the page, ready for its template: texts, values to sort by, links to runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from markupsafe import Markup

from eval._compare.figures import Axis, Cost, bar
from eval._compare.words import between, duration, gibibytes, millions, printed, seen_from, signed
from eval.comparison import Comparison, Difference, Interval, PublishedTable, RunFacts, Shown

CHECKPOINTS = ("final", "best")
PICTURE = re.compile(r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+=*")


def _time_unit(most: float) -> float:
    return next(unit for unit, from_ in ((3600, 9000), (60, 150), (1, 0)) if most >= from_)


COSTS = [
    Cost("seconds", "Time of training", duration, unit=_time_unit),
    Cost("images_per_s", "Images/s in training", lambda v: f"{v:.3g}", more=True),
    Cost("seconds_to_level", "Time to level", duration, unit=_time_unit),
    Cost("peak_bytes", "Memory in training", gibibytes, unit=lambda most: 2.0**30),
    Cost("translating_parameters", "Parameters that translate", millions),
    Cost("parameters", "Parameters, all networks", millions),
]


@dataclass
class Seed:
    """The score of one run."""

    seed: int
    run: int  # number in `Comparison.runs`
    text: str


@dataclass
class Cell:
    """A score over seeds.

    Attributes:
        metric: its number.
        checkpoint: "final" or "best".
        value: to sort by; None: there is none.
        text: printed value.
        span: printed interval.
        over: what the interval is over.
        spread: printed ± over seeds.
        mark: "best", "tie" or nothing.
        bar: the interval drawn.
        seeds: each run's score.
        looks: what the best checkpoint was chosen from.
        why: why there is no value.
    """

    metric: int
    checkpoint: str
    value: float | None = None
    text: str = ""
    span: str = ""
    over: str = ""
    spread: str = ""
    mark: str = ""
    bar: Markup | None = None
    seeds: list[Seed] = field(default_factory=list)
    looks: str = ""
    why: str = ""


@dataclass
class Behind:
    """A row's difference from the best one."""

    row: int
    best: bool
    value: float
    text: str
    span: str
    verdict: str
    p: str
    test: str
    bar: Markup


@dataclass
class Pair:
    """A cell of the matrix: the row less the column."""

    text: str = ""
    span: str = ""
    kind: str = ""  # "better", "worse", "tie"
    p: str = ""
    test: str = ""


def runs_of(made: Comparison, row: str, task: str) -> list[tuple[int, RunFacts]]:
    """The runs that fill a cell, with their numbers, in the order of the seeds."""
    found = [
        (number, run)
        for number, run in enumerate(made.runs)
        if run.row == row and task in run.tasks.values()
    ]
    return sorted(found, key=lambda pair: pair[1].seed)


def main_table(made: Comparison, task: str) -> list[list[Cell]]:
    """Cells of one task: a list for each row, final and best of each metric."""
    axes = {shown.name: _axis(made, f"{task}/{shown.name}") for shown in made.metrics}
    return [
        [
            _cell(made, task, row, number, checkpoint, axes[shown.name])
            for number, shown in enumerate(made.metrics)
            for checkpoint in CHECKPOINTS
        ]
        for row in made.rows
    ]


def _axis(made: Comparison, key: str) -> Axis | None:
    ends = [
        value
        for cells in made.cells.get("final", {}).values()
        if key in cells
        for value in (cells[key].value, cells[key].low, cells[key].high, *cells[key].values)
        if value is not None
    ]
    return Axis.over(ends) if ends else None


def _cell(
    made: Comparison, task: str, row: str, metric: int, checkpoint: str, axis: Axis | None
) -> Cell:
    shown = made.metrics[metric]
    key = f"{task}/{shown.name}"
    runs = runs_of(made, row, task)
    found = made.cells.get(checkpoint, {}).get(row, {}).get(key)
    cell = Cell(metric, checkpoint)
    if found is None:
        cell.why = _why(runs, checkpoint)
        return cell
    cell.value, cell.text = found.value, printed(found.value, shown)
    cell.span, cell.over = between(found.low, found.high, shown), found.over
    cell.spread = "" if found.spread is None else f"± {printed(found.spread, shown)}"
    cell.seeds = [
        Seed(run.seed, number, printed(score.value, shown))
        for number, run in runs
        if (score := run.scores.get(checkpoint, {}).get(key)) is not None
    ]
    if checkpoint == "best":
        cell.looks = _looks([run for _, run in runs])
        return cell
    if made.best.get(key) == row:
        cell.mark = "best"
    elif row in made.ties.get(key, []):
        cell.mark = "tie"
    if axis is not None:
        cell.bar = bar(found.value, found.low, found.high, axis, points=found.values)
    return cell


def _why(runs: Sequence[tuple[int, RunFacts]], checkpoint: str) -> str:
    states = sorted({run.state for _, run in runs} - {"done"})
    if not runs:
        return "no run fills this cell"
    if states:
        return ", ".join(states)
    if checkpoint == "best" and all(run.best_images_seen is None for _, run in runs):
        return "none was kept"
    return "not scored"


def _looks(runs: Sequence[RunFacts]) -> str:
    looks = sorted({run.looks for run in runs if run.looks})
    if not looks:
        return "looks not recorded"
    count = f"{looks[0]}" if len(looks) == 1 else f"{looks[0]} to {looks[-1]}"
    return f"of {count} looks"


def baselines(made: Comparison, task: str) -> list[tuple[str, list[tuple[int, str, str]]]]:
    """Label and (metric, checkpoint, printed) of what nothing was learnt for."""
    found = []
    for label, values in made.baselines.items():
        cells = []
        for number, shown in enumerate(made.metrics):
            value = values.get(f"{task}/{shown.name}")
            cells.append((number, "final", "" if value is None else printed(value, shown)))
            cells.append((number, "best", ""))
        if any(text for *_, text in cells):
            found.append((label, cells))
    return found


def behind(made: Comparison, task: str, shown: Shown) -> list[Behind]:
    """Every row's difference from the best, with what chance makes as a band."""
    key = f"{task}/{shown.name}"
    best = made.best.get(key)
    if best is None:
        return []
    differences = made.differences.get(key, [])
    found = [(n, row, seen_from(row, best, differences)) for n, row in enumerate(made.rows)]
    known = [d for _, _, d in found if d is not None]
    null = made.null.get(key)
    chance = _chance(null) if null else None
    ends = [v for d in known for v in (d.value, d.low, d.high) if v is not None]
    axis = Axis.over([0.0, *ends, *(chance or ())])
    rows = []
    for number, row, d in found:
        if row == best:
            drawn = bar(0.0, None, None, axis, zero=True, band=chance)
            rows.append(Behind(number, True, 0.0, printed(0.0, shown), "", "best", "", "", drawn))
        elif d is not None:
            verdict = "tie" if d.tie else "real difference"
            drawn = bar(d.value, d.low, d.high, axis, zero=True, band=chance)
            text, span = signed(d.value, shown), between(d.low, d.high, shown)
            value = -d.value if shown.better == "higher" else d.value
            rows.append(Behind(number, False, value, text, span, verdict, _p(d), d.test, drawn))
    return rows if len(rows) > 1 else []


def _chance(null: Difference) -> tuple[float, float]:
    """The null comparison's interval around 0: what chance alone would make."""
    half = max(
        abs(null.value),
        *(abs(end - null.value) for end in (null.low, null.high) if end is not None),
        0.0,
    )
    return -half, half


def _p(difference: Difference) -> str:
    """With Holm's p, which is for all pairs of the table together, where there is one."""

    def said(p: float) -> str:
        return "< 0.001" if p < 0.001 else f"= {p:.3f}"

    if difference.p is None:
        return ""
    holm = "" if difference.p_holm is None else f", Holm {said(difference.p_holm)}"
    return f"p {said(difference.p)}{holm}"


def matrix(made: Comparison, task: str, shown: Shown) -> list[list[Pair | None]]:
    """Each row less each column; None on the diagonal and where a row has no score."""
    differences = made.differences.get(f"{task}/{shown.name}", [])
    rows = []
    for row in made.rows:
        pairs: list[Pair | None] = []
        for other in made.rows:
            d = None if row == other else seen_from(row, other, differences)
            pairs.append(None if d is None else _pair(d, shown))
        rows.append(pairs)
    return rows if any(pair for pairs in rows for pair in pairs) else []


def _pair(d: Difference, shown: Shown) -> Pair:
    ahead = d.value < 0 if shown.better == "lower" else d.value > 0
    kind = "tie" if d.tie else "better" if ahead else "worse"
    return Pair(signed(d.value, shown), between(d.low, d.high, shown), kind, _p(d), d.test)


def nulls(made: Comparison) -> list[tuple[int, int, str, str, str, str]]:
    """Task, metric, printed difference, its interval, verdict and test of the null comparison."""
    found = []
    for t, task in enumerate(made.tasks):
        for m, shown in enumerate(made.metrics):
            if d := made.null.get(f"{task}/{shown.name}"):
                verdict = "tie, as it must be" if d.tie else "came out as a difference"
                span = between(d.low, d.high, shown)
                found.append((t, m, signed(d.value, shown), span, verdict, d.test))
    return found


def cost_title(made: Comparison, cost: Cost) -> str:
    """Heading of a cost; that of the time for a score says which score."""
    if made.level is None or cost.name != "seconds_to_level":
        return cost.title
    shown = next((s for s in made.metrics if s.name == made.level.get("metric")), None)
    value = float(made.level["value"])
    text = f"{value:g}" if shown is None else printed(value, shown)
    name = made.level.get("metric") if shown is None else shown.title
    return f"Time to {name} {text} on {made.level.get('task')}"


def costs(made: Comparison) -> list[tuple[str, str, bool, list[tuple[float | None, str]]]]:
    """Name, title, whether more is better, and (value, printed) of each row."""
    found = []
    for cost in COSTS:
        values = [made.costs.get(row, {}).get(cost.name) for row in made.rows]
        if all(value is None for value in values):
            continue
        unknown = "not reached" if cost.name == "seconds_to_level" else "not recorded"
        cells = [(v, unknown if v is None else cost.said(v)) for v in values]
        found.append((cost.name, cost_title(made, cost), cost.more, cells))
    return found


@dataclass
class Beside:
    """A published table with ours beside it."""

    table: PublishedTable
    tasks: list[int]
    ours: bool
    rows: list[tuple[str, int | None, list[tuple[str, str]]]]  # label, number, (theirs, ours)
    notes: list[str]


def published(made: Comparison, table: PublishedTable) -> Beside:
    """Numbers as printed in the paper, and ours in their unit where the metric is one of ours."""
    shown = next((s for s in made.metrics if s.name == table.metric), None)
    tasks = [
        n for n, task in enumerate(made.tasks) if any(task in v for v in table.values.values())
    ]
    rows = []
    for label, values in table.values.items():
        number = made.rows.index(label) if label in made.rows else None
        pairs = []
        for n in tasks:
            theirs = " ± ".join(f"{v:g}" for v in values.get(made.tasks[n], []))
            cell = None
            if shown is not None:
                key = f"{made.tasks[n]}/{shown.name}"
                cell = made.cells.get("final", {}).get(label, {}).get(key)
            pairs.append((theirs, _in_their_unit(cell, shown, table)))
        rows.append((label, number, pairs))
    return Beside(table, tasks, shown is not None, rows, _notes(made, table, tasks, shown))


def _in_their_unit(cell: Interval | None, shown: Shown | None, table: PublishedTable) -> str:
    if cell is None or shown is None:
        return ""
    lost = len(f"{table.scale / shown.scale:.0f}") - 1 if table.scale > shown.scale else 0
    return f"{cell.value * table.scale:.{max(0, shown.decimals - lost)}f}".replace("-", "−")


def _notes(
    made: Comparison, table: PublishedTable, tasks: Sequence[int], shown: Shown | None
) -> list[str]:
    notes = []
    if not table.verified:
        notes.append("Copied second hand: look it up before you quote it.")
    if shown is None:
        notes.append(f"Zoo has no score {table.metric} in this comparison to set beside it.")
        return notes
    foreign = [made.tasks[n] for n in tasks if not made.comparable.get(made.tasks[n], False)]
    if foreign and not shown.truth:
        notes.append(
            f"Not comparable on {', '.join(foreign)}: ours are distances on other features than "
            "those of published numbers. Only the order of rows can be set side by side."
        )
    else:
        notes.append(
            "Same kind of features; images, sizes, budgets and the checkpoint that was scored may "
            "still differ from the paper's."
        )
    return notes


def picture(url: str) -> str | None:
    """The URL, if it is an image embedded in it, which loads nothing."""
    return url if PICTURE.fullmatch(url) else None


def folder_link(folder: str) -> str:
    """A link to a folder; no text can make another scheme or host of it."""
    return quote(re.sub("^/+", "/", folder).rstrip("/") + "/", safe="/")
