"""What a comparison says, in words and printed numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from eval.comparison import Comparison, Difference, Interval, Shown
from zoo.registry import UserError

UNTRANSLATED = "untranslated"


@dataclass
class Headline:
    """The statement at the top.

    Attributes:
        title: one line.
        sentences: task -> what is best, what ties, what is behind.
        facts: (number, what is counted).
        doubts: what speaks against believing it.
    """

    title: str
    sentences: dict[str, list[str]] = field(default_factory=dict)
    facts: list[tuple[str, str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def printed(value: float, shown: Shown) -> str:
    """A score as it is printed; what rounds to 0 has no sign."""
    text = f"{value * shown.scale:.{shown.decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float, shown: Shown) -> str:
    """A difference of scores; what rounds to 0 has no sign."""
    text = f"{value * shown.scale:+.{shown.decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def between(low: float | None, high: float | None, shown: Shown) -> str:
    """An interval, or nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"{printed(low, shown)} to {printed(high, shown)}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 3 h 20 min."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours / 24:.1f} days"


def millions(count: float) -> str:
    """A number of parameters."""
    return f"{count / 1e6:.2f} M" if count < 1e8 else f"{count / 1e6:.0f} M"


def gibibytes(count: float) -> str:
    """A size of memory."""
    return f"{count / 2**30:.2f} GiB"


def listed(words: Iterable[str]) -> str:
    """a, b and c; where a word has a comma, semicolons."""
    words = list(words)
    if len(words) > 2 and any("," in word for word in words):
        return "; ".join([*words[:-1], f"and {words[-1]}"])
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def leaders(made: Comparison, key: str) -> list[str]:
    """The best row of a score, and those that tie with it, in the order of the rows."""
    if key not in made.best:
        return []
    among = {made.best[key], *made.ties.get(key, [])}
    return [row for row in made.rows if row in among]


def seen_from(row: str, other: str, differences: Sequence[Difference]) -> Difference | None:
    """The difference row - other, turned round where it was taken the other way."""
    for d in differences:
        if (d.a, d.b) == (row, other):
            return d
        if (d.b, d.a) == (row, other):
            low = None if d.high is None else -d.high
            high = None if d.low is None else -d.low
            return replace(d, a=row, b=other, value=-d.value, low=low, high=high)
    return None


def better(value: float, other: float, shown: Shown) -> bool:
    """Whether a score is better than another."""
    return value < other if shown.better == "lower" else value > other


def headline(made: Comparison) -> Headline:
    """What is best, which differences are real, which are ties."""
    if not made.metrics or not made.tasks:
        raise UserError(f"the comparison {made.sweep!r} has no metrics or no tasks to show")
    first = made.metrics[0]
    truth = next((shown for shown in made.metrics[1:] if shown.truth and not first.truth), None)
    said = Headline(_title(made, first), facts=_facts(made))
    for task in made.tasks:
        metrics = [first] if truth is None else [first, truth]
        found = [_sentence(made, task, shown) for shown in metrics]
        said.sentences[task] = [text for text in found if text]
    said.doubts = [*_few_seeds(made), *_worthless(made, first), *_broken_null(made)]
    return said


def _title(made: Comparison, shown: Shown) -> str:
    ahead = {t: found for t in made.tasks if (found := leaders(made, f"{t}/{shown.name}"))}
    if not ahead:
        return f"No run has a score yet: {shown.title} is missing everywhere"
    unscored = "" if len(ahead) == len(made.tasks) else f" on {listed(ahead)}"
    always = [row for row in made.rows if all(row in rows for rows in ahead.values())]
    if len(made.rows) == 1:
        return f"{made.rows[0]}, alone: nothing to compare it with"
    if not always:
        return f"By {shown.title}, which row is best depends on the task"
    if len(always) == 1 and all(len(rows) == 1 for rows in ahead.values()):
        return f"{always[0]} is best{unscored} by {shown.title}"
    if len(always) == 1:
        return f"{always[0]} is ahead or ties for the best{unscored} by {shown.title}"
    if len(always) == len(made.rows):
        return f"A tie of all rows{unscored} by {shown.title}: no difference is real"
    return f"{listed(always)} tie for the best {shown.title}{unscored}"


def _sentence(made: Comparison, task: str, shown: Shown) -> str:
    key = f"{task}/{shown.name}"
    cells = made.cells.get("final", {})
    best = made.best.get(key)
    cell = cells.get(best, {}).get(key) if best else None
    if best is None or cell is None:
        return ""
    tied = [row for row in leaders(made, key) if row != best]
    behind = [r for r in made.rows if r != best and r not in tied and key in cells.get(r, {})]
    text = f"By {shown.title} {best} is best at {_value(cell, shown)}"
    text += f"; {listed(tied)} {'ties' if len(tied) == 1 else 'tie'} with it. " if tied else ". "
    if behind:
        text += f"Really behind it: {listed(behind)}."
    elif tied:
        text += "No row is really behind."
    return text.strip()


def _value(cell: Interval, shown: Shown) -> str:
    span = between(cell.low, cell.high, shown)
    return printed(cell.value, shown) + (f" ({span} over {cell.over})" if span else "")


def _facts(made: Comparison) -> list[tuple[str, str]]:
    done = [run for run in made.runs if run.state == "done"]
    pairs = [d for found in made.differences.values() for d in found]
    real = sum(not d.tie for d in pairs)
    seen = sorted({run.images_seen for run in done})
    facts = [
        (str(len(made.rows)), "row" if len(made.rows) == 1 else "rows"),
        (str(len(made.seeds)), "seed each" if len(made.seeds) == 1 else "seeds each"),
        (f"{len(done)} of {len(made.runs)}", "runs done"),
    ]
    if seen:
        facts.append(
            (
                " to ".join(f"{n:,}" for n in dict.fromkeys((seen[0], seen[-1]))),
                "images seen by each",
            )
        )
    if pairs:
        facts.append((f"{real} of {len(pairs)}", "differences between pairs are real"))
    return facts


def _few_seeds(made: Comparison) -> list[str]:
    """Without several seeds a difference is one of runs."""
    cells = [cell for row in made.cells.get("final", {}).values() for cell in row.values()]
    if not any(cell.over == "images" and cell.low is not None for cell in cells):
        return []
    return [
        "Some rows have one seed: their intervals are over test images alone. What is called real "
        "there is a difference between two runs, not between two methods."
    ]


def _worthless(made: Comparison, shown: Shown) -> list[str]:
    """Rows that are no better than doing nothing."""
    said = []
    for task in made.tasks:
        key = f"{task}/{shown.name}"
        nothing = made.baselines.get(UNTRANSLATED, {}).get(key)
        cells = {
            row: c for row, found in made.cells.get("final", {}).items() if (c := found.get(key))
        }
        if nothing is None:
            continue
        rows = [r for r in made.rows if r in cells and not better(cells[r].value, nothing, shown)]
        if rows:
            said.append(
                f"On {task} {listed(rows)} {'is' if len(rows) == 1 else 'are'} no better by "
                f"{shown.title} than the untranslated images."
            )
    return said


def _broken_null(made: Comparison) -> list[str]:
    titles = {shown.name: shown.title for shown in made.metrics}
    broken = [key for key, difference in made.null.items() if not difference.tie]
    if not broken:
        return []
    names = listed(
        f"{titles.get(k.rpartition('/')[2], k)} on {k.rpartition('/')[0]}" for k in broken
    )
    return [
        f"The null comparison, {made.null_row} against itself with other seeds, came out as a "
        f"difference in {names}. Intervals there are too narrow: believe its ties only."
    ]
