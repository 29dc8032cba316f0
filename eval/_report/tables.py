"""Tables of the report: what the runs are, and their scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from eval._report.charts import short
from eval._report.runs import RunData
from eval.choosing import column_of, columns, of_features
from eval.scores import RUN, UNTRANSLATED, Score

DIRECTIONS = {"a2b": "A → B", "b2a": "B → A"}


@dataclass
class Cell:
    """One number: as text, its spread, its ratio to the untranslated one, and a footnote."""

    value: str = ""
    spread: str = ""
    ratio: str = ""
    best: bool = False
    note: int | None = None


@dataclass
class Row:
    """One translator."""

    label: str
    kind: str  # "run", "unpaired" or "paired"
    colour: int | None
    cells: list[Cell]

    @property
    def rank(self) -> int:
        """Its place among the kinds."""
        return ("run", "unpaired", "paired").index(self.kind)


@dataclass
class Table:
    """Scores that may be compared with each other."""

    title: str
    extractor: str
    comparable: bool
    protocol: str
    groups: list[tuple[str, list[str]]]  # direction -> headings
    rows: list[Row]
    notes: list[str]  # by number, for cells
    absent: list[str]  # why whole columns are missing

    @property
    def firsts(self) -> list[int]:
        """Numbers of the columns with which a direction starts."""
        ends = list(accumulate(len(headings) for _, headings in self.groups))
        return [0, *ends[:-1]]


def score_tables(runs: Sequence[RunData], references: Iterable[Score]) -> list[Table]:
    """Scores by extractor and test images: numbers of two extractors never share a table.

    Args:
        runs: in the order of their colours.
        references: records of trivial translators, on any data.
    """
    titles: dict[tuple[str, str], str] = {}
    members: dict[tuple[str, str], dict[int, list[Score]]] = {}
    for index, run in enumerate(runs):
        for key, scores in _by_protocol(run.scores).items():
            titles.setdefault(key, data_label(run))
            members.setdefault(key, {})[index] = scores
    others = _by_protocol(list(references))
    return [
        _table(title, key, runs, members[key], others.get(key, [])) for key, title in titles.items()
    ]


def _by_protocol(scores: list[Score]) -> dict[tuple[str, str], list[Score]]:
    """Records by (extractor, hash of the test images); those without features go along."""
    extractors = {s.extractor for s in scores if of_features(s) and s.extractor}
    if not extractors and scores:
        extractors = {""}
    images = next((s.test_images or "" for s in scores if s.direction == "a2b"), "")
    images = images or next((s.test_images or "" for s in scores), "")
    return {
        (extractor, images): [
            s for s in scores if not of_features(s) or (s.extractor or "") == extractor
        ]
        for extractor in sorted(extractors)
    }


def _table(
    title: str,
    key: tuple[str, str],
    runs: Sequence[RunData],
    members: dict[int, list[Score]],
    references: list[Score],
) -> Table:
    named: dict[tuple[str, str], dict[tuple[str, str], Score]] = {}  # row -> column -> score
    colours: dict[tuple[str, str], int] = {}
    for index, scores in members.items():
        for score in scores:
            own = score.translator == RUN
            row = ("run", _label(runs[index], score)) if own else (_kind(score), score.translator)
            if own:
                colours[row] = index
            named.setdefault(row, {}).setdefault((score.direction, score.metric), score)
    for score in references:
        row = (_kind(score), score.translator)
        named.setdefault(row, {}).setdefault((score.direction, score.metric), score)

    shown = [score for columns in named.values() for score in columns.values()]
    present = {(score.direction, score.metric) for score in shown if score.value is not None}
    order = metric_order(score.metric for score in shown)
    columns = [(d, m) for d in DIRECTIONS for m in order if (d, m) in present]
    base = named.get(("unpaired", UNTRANSLATED), {})
    best = {column: _best(named, column) for column in columns}
    notes: list[str] = []
    missing = [_reason(s) for s in shown if (s.direction, s.metric) not in present]
    rows = [
        Row(
            label,
            kind,
            colours.get((kind, label)),
            [_cell(named[kind, label].get(c), kind, base.get(c), best[c], notes) for c in columns],
        )
        for kind, label in sorted(
            named, key=lambda row: (colours.get(row, 0), row[1] != UNTRANSLATED)
        )
    ]
    groups = [
        (heading, [_heading(m, shown) for direction, m in columns if direction == d])
        for d, heading in DIRECTIONS.items()
        if any(direction == d for direction, _ in columns)
    ]
    comparable = all(s.comparable for s in shown if of_features(s))
    absent = [text for text in dict.fromkeys(missing) if text not in notes]
    return Table(title, key[0], comparable, _protocol(shown), groups, rows, notes, absent)


def metric_order(metrics: Iterable[str]) -> list[str]:
    """Scores in the order of columns; those of metrics that are not installed at the end."""
    known, found = list(columns()), dict.fromkeys(metrics)
    return sorted(found, key=lambda name: known.index(name) if name in known else len(known))


def _label(run: RunData, score: Score) -> str:
    """The name of a run's row; the best checkpoint's says from how many it was chosen."""
    if score.checkpoint != "best":
        return run.name
    return f"{run.name}, best of {score.looks}" if score.looks else f"{run.name}, best"


def _kind(score: Score) -> str:
    return "paired" if score.saw_pairs else "unpaired"


def _heading(metric: str, shown: list[Score]) -> str:
    """Title and which way is better; the network too where it is not that of the table."""
    column, own = column_of(metric), [score for score in shown if score.metric == metric]
    name = column.title
    if not any(of_features(score) for score in own):
        name += "".join(f" ({network})" for network in _distinct(own, "extractor"))
    return f"{name} {'↑' if column.better == 'higher' else '↓'}"


def _best(named: dict, column: tuple[str, str]) -> float | None:
    """The best value of a column among those that saw no pairs."""
    values = [
        columns[column].value
        for (kind, _), columns in named.items()
        if kind != "paired" and column in columns and columns[column].value is not None
    ]
    pick = max if column_of(column[1]).better == "higher" else min
    return pick(values) if len(values) > 1 else None


def _cell(
    score: Score | None, kind: str, base: Score | None, best: float | None, notes: list[str]
) -> Cell:
    if score is None:
        return Cell()
    if score.value is None:
        reason = _reason(score)
        if reason not in notes:
            notes.append(reason)
        return Cell(note=notes.index(reason) + 1)
    _, better, factor, decimals = column_of(score.metric)
    cell = Cell(
        value=f"{score.value * factor:.{decimals}f}",
        best=kind != "paired" and score.value == best,
    )
    if score.low is not None and score.high is not None:
        ends = (score.low * factor, score.high * factor)
        cell.spread = " to ".join(f"{end:.{decimals}f}" for end in ends)
    elif score.std is not None and score.spread_over == "subsets":
        cell.spread = f"± {score.std * factor:.{decimals}f}"
    worth = better == "lower" and base is not None and base.value is not None and base.value > 0
    if score is not base and worth:
        assert base is not None
        assert base.value is not None
        cell.ratio = f"{score.value / base.value:.2f} ×"
    return cell


def _reason(score: Score) -> str:
    reason = (score.unavailable or "the reason was not recorded").rstrip(".")
    return f"No {column_of(score.metric).title}: {reason}."


def _distinct(scores: Iterable[Score], attribute: str) -> list[str]:
    found = {getattr(score, attribute): None for score in scores}
    return [str(value) for value in found if value is not None]


def _protocol(shown: list[Score]) -> str:
    """Sizes, counts, subsets, seed, intervals; every value in force where rows differ."""

    def each(attribute: str, scores: Iterable[Score]) -> str:
        return " or ".join(_distinct(scores, attribute)) or "?"

    sets = [score for score in shown if of_features(score)]
    words = [
        f"{each('num_fake', shown)} test images a direction at {each('image_size', shown)} px, "
        f"against {each('num_real', sets)} {each('reference', sets)} images of the target domain."
    ]
    if kids := [score for score in sets if score.subset_size is not None]:
        shows_spread = any(score.low is None and score.std is not None for score in kids)
        words.append(
            f"KID over {each('num_subsets', kids)} subsets of {each('subset_size', kids)}, "
            f"seed {each('seed', kids)}"
            + ("; ± is the standard deviation over subsets." if shows_spread else ".")
        )
    if found := _distinct(shown, "interval"):
        words.append(f"“a to b”: {' or '.join(found)}.")
    return " ".join([*words, f"Resized by: {each('resizer', sets)}."])


def data_label(run: RunData) -> str:
    """The data set and its size, for headings."""
    name = run.get("data", "name")
    root = run.get("data", "root")
    size = run.get("data", "size")
    words = [str(name) if name else "unknown data"]
    words += [str(root)] if root else []
    words += [f"{size} px"] if size else []
    return " · ".join(words)


def facts(run: RunData) -> dict[str, str]:
    """What a run is, one row of the first table; a dash where it is not known."""
    own = [s for s in run.scores if s.translator == RUN]
    parameters = sum(run.parameters.values())
    started = run.get("provenance", "started")
    planned = run.get("train", "images")
    seen = "–" if run.images_seen is None else f"{run.images_seen:,}"
    if isinstance(planned, int) and run.images_seen is not None and planned != run.images_seen:
        seen += f" of {planned:,}"
    values = {
        "Method": run.get("method", "name"),
        "Generator": run.get("method", "generator", "name"),
        "Data": data_label(run),
        "Images seen": seen,
        "Batch": run.get("train", "batch"),
        "Parameters": f"{parameters / 1e6:.2f} M" if parameters else None,
        "Images/s": short(run.images_per_s) if run.images_per_s is not None else None,
        "Waiting for data": f"{run.waiting:.1%}" if run.waiting is not None else None,
        "Scored weights": ", ".join(dict.fromkeys(s.weights for s in own if s.weights)),
        "Scored checkpoint": ", ".join(dict.fromkeys(s.checkpoint for s in own if s.checkpoint)),
        "Started": str(started)[:16].replace("T", " ") if started else None,
    }
    return {name: "–" if value in (None, "") else str(value) for name, value in values.items()}
