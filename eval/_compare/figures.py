"""Figures of the page as inline SVG: bars of intervals, curves over seeds, quality against cost."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markupsafe import Markup, escape

from eval._compare.words import printed
from eval._report.charts import Line, Scale, chart, short
from eval.comparison import Comparison, Interval, RunFacts, Shown

LOG_FROM = 12  # scores fall fast at first, and rows differ at the end
COLOURS = 8  # in the report's style sheet
WIDTH, HEIGHT = 440, 310  # of a plot of quality against cost
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 16, 44
LETTER, LINE = 7.0, 13  # about the size of a letter at 12 px, for labels that do not overlap


@dataclass(frozen=True)
class Axis:
    """What a row of bars is drawn over; values outside it are cut at its ends."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> "Axis":
        """From the least to the greatest, with a margin."""
        low, high = min(values), max(values)
        margin = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
        return cls(low - margin, high + margin)

    def __call__(self, value: float) -> float:
        """Percent of the width."""
        return min(100.0, max(0.0, 100 * (value - self.low) / (self.high - self.low)))


def bar(
    value: float,
    low: float | None,
    high: float | None,
    axis: Axis,
    *,
    points: Sequence[float] = (),
    zero: bool = False,
    band: tuple[float, float] | None = None,
) -> Markup:
    """An interval with its value, beside the number that says the same.

    Args:
        value: drawn as a dot.
        low: of the interval, or None.
        high: of the interval, or None.
        axis: shared by the bars of a column.
        points: one for each seed, drawn as ticks.
        zero: draw a line at 0.
        band: shaded, such as what chance makes.
    """
    parts = ['<svg class="bar" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">']
    if band:
        at, width = axis(band[0]), axis(band[1]) - axis(band[0])
        parts.append(f'<rect class="chance" x="{at:.1f}" y="0" width="{width:.1f}" height="14"/>')
    if zero:
        parts.append(_stroke("zero", axis(0), 0, axis(0), 14))
    if low is not None and high is not None:
        parts.append(_stroke("span", axis(low), 7, axis(high), 7))
    parts += [_stroke("seed", axis(point), 3.5, axis(point), 10.5) for point in points]
    parts.append(_stroke("mean", axis(value), 7, axis(value), 7))
    return Markup("".join(parts) + "</svg>")


def _stroke(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """A line, as lines keep their width when a bar is stretched to its column."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1}" x2="{x2:.1f}" y2="{y2}"/>'


@dataclass
class Curves:
    """A score during training, one line a row.

    Attributes:
        svg: the chart.
        last: (number of the row, value at the end, the row), best first.
        partial: some seeds had not come as far as others.
    """

    svg: Markup
    last: list[tuple[int, str, str]]
    partial: bool


def curves(made: Comparison, task: str, shown: Shown) -> Curves | None:
    """Means over seeds with bands from the least to the greatest; None without any curve."""
    lines, partial = [], False
    key = f"{task}/{shown.name}"
    for number, row in enumerate(made.rows):
        runs = [run for run in made.runs if run.row == row and run.curves.get(key)]
        at = _by_position(runs, key, shown)
        if not at:
            continue
        partial |= any(len(values) < len(runs) for values in at.values())
        lines.append(
            Line(
                label=row,
                colour=number % COLOURS,
                images=list(at),
                values=[sum(values) / len(values) for values in at.values()],
                markers=True,
                low=[min(values) for values in at.values()],
                high=[max(values) for values in at.values()],
                number=number,
            )
        )
    if not lines:
        return None
    nothing = made.baselines.get("untranslated", {}).get(key)
    level = None if nothing is None else (nothing * shown.scale, "untranslated")
    ends = [(line.number or 0, line.values[-1], line.label) for line in lines]
    ends.sort(key=lambda end: end[1], reverse=shown.better == "higher")
    last = [(number, f"{value:.{shown.decimals}f}", row) for number, value, row in ends]
    return Curves(chart(lines, level, LOG_FROM), last, partial)


def _by_position(runs: Sequence[RunFacts], key: str, shown: Shown) -> dict[float, list[float]]:
    """Images seen -> printed values of the seeds that have come so far, in order."""
    found: dict[float, list[float]] = {}
    for run in runs:
        for images, value in run.curves[key]:
            if math.isfinite(value):
                found.setdefault(images, []).append(value * shown.scale)
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Cost:
    """A cost of a row.

    Attributes:
        name: in `Comparison.costs`.
        title: heading.
        said: prints one.
        more: more of it is better.
        unit: from the greatest value, what round numbers are multiples of.
    """

    name: str
    title: str
    said: Callable[[float], str]
    more: bool = False
    unit: Callable[[float], float] = lambda most: 1.0


@dataclass
class Point:
    """A row in a plot of quality against cost."""

    number: int
    label: str
    cost: float
    cell: Interval
    front: bool = False


def points(made: Comparison, key: str, cost: Cost, shown: Shown) -> list[Point]:
    """Rows whose cost and final score are known; those on the front are marked.

    On the front is a row if none is as good and cheaper, or as cheap and better.

    Args:
        made: the comparison.
        key: "task/metric".
        cost: which.
        shown: the metric.
    """
    found = []
    for number, row in enumerate(made.rows):
        cell = made.cells.get("final", {}).get(row, {}).get(key)
        value = made.costs.get(row, {}).get(cost.name)
        if cell is not None and value is not None:
            found.append(Point(number, row, value, cell))

    def beats(one: Point, other: Point) -> bool:
        dear, bad = one.cost - other.cost, one.cell.value - other.cell.value
        dear, bad = -dear if cost.more else dear, -bad if shown.better == "higher" else bad
        return dear <= 0 and bad <= 0 and (dear, bad) != (0, 0)

    for point in found:
        point.front = not any(beats(other, point) for other in found)
    return found


def pareto(found: Sequence[Point], shown: Shown, cost: Cost, title: str) -> Markup:
    """Draw quality against cost, with the front as a line through the rows that are on it.

    Args:
        found: at least one point.
        shown: the metric.
        cost: how the cost is printed.
        title: of the cost.
    """
    said = cost.said
    costs = [p.cost for p in found]
    ends = [
        v * shown.scale
        for p in found
        for v in (p.cell.value, p.cell.low, p.cell.high)
        if v is not None
    ]
    room = (max(ends) - min(ends)) * 0.08 or abs(max(ends)) * 0.1 or 1.0
    y = Scale(min(ends) - room, max(ends) + room, HEIGHT - BOTTOM, TOP)
    x = Scale.over(
        costs, LEFT, WIDTH - RIGHT, min(costs) > 0 and max(costs) > LOG_FROM * min(costs)
    )
    spoken = "; ".join(f"{p.label}: {said(p.cost)}, {printed(p.cell.value, shown)}" for p in found)
    parts = [
        f'<svg class="chart pareto" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{shown.title} against {title}. {spoken}")}">'
    ]
    parts += _axes(x, y, cost)
    arrow = "↑ better" if shown.better == "higher" else "↓ better"
    parts.append(
        f'<text class="axis-title" x="{LEFT}" y="{TOP - 5}">{escape(shown.title)} {arrow}</text>'
        f'<text class="axis-title" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">'
        f"{escape(title)} {'→ better' if cost.more else '← better'}</text>"
    )
    front = sorted((p for p in found if p.front), key=lambda p: p.cost)
    steps = _steps([(x(p.cost), y(p.cell.value * shown.scale)) for p in front], cost.more)
    line = " ".join(f"{across:.1f},{down:.1f}" for across, down in steps)
    parts.append(f'<polyline class="front" points="{line}"/>')
    taken = [(x(p.cost) - 7, y(p.cell.value * shown.scale) - 7, 14.0, 14.0) for p in found]
    for point in found:
        parts.append(_dot(point, x(point.cost), y, shown, taken))
    return Markup("".join(parts) + "</svg>")


def _steps(front: Sequence[tuple[float, float]], more: bool) -> list[tuple[float, float]]:
    """What can be had at most at every cost: stairs, as nothing lies between two rows."""
    steps = list(front[:1])
    for (x1, y1), (x2, y2) in pairwise(front):
        steps += [(x1, y2) if more else (x2, y1), (x2, y2)]
    return steps


def _axes(x: Scale, y: Scale, cost: Cost) -> list[str]:
    parts = []
    for tick in y.ticks(5):
        at = y(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="tick" x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">'
            f"{short(tick)}</text>"
        )
    parts.append(
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
        f'y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
    )
    unit = cost.unit(x.high)
    ticks = [tick * unit for tick in replace(x, low=x.low / unit, high=x.high / unit).ticks(5)]
    parts += [
        f'<text class="tick" x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 15}" '
        f'text-anchor="middle">{escape(cost.said(tick))}</text>'
        for tick in ticks
    ]
    return parts


def _dot(point: Point, x: float, y: Scale, shown: Shown, taken: list) -> str:
    value, cell = point.cell.value * shown.scale, point.cell
    low, high = cell.low, cell.high
    drawn = f'<g class="run{point.number % COLOURS}" data-row="{point.number}">'
    if low is not None and high is not None:
        ends = f'y1="{y(low * shown.scale):.1f}" y2="{y(high * shown.scale):.1f}"'
        drawn += f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'
    kind = "dot" if point.front else "dot off-front"
    drawn += f'<circle class="{kind}" cx="{x:.1f}" cy="{y(value):.1f}" r="5.5"/>'
    at = _place(point.label, x, y(value), taken)
    drawn += f'<text class="name" x="{at[0]:.1f}" y="{at[1] + LINE - 3:.1f}">'
    return drawn + f"{escape(point.label)}</text></g>"


def _place(label: str, x: float, y: float, taken: list) -> tuple[float, float]:
    """The top left corner for a label beside a dot, where it covers least."""
    width = len(label) * LETTER
    places = [
        (x + 9, y - 7),
        (x - 9 - width, y - 7),
        (x + 7, y - 22),
        (x + 7, y + 8),
        (x - 7 - width, y - 22),
        (x - 7 - width, y + 8),
        (x - width / 2, y - 24),
        (x - width / 2, y + 10),
    ]

    def cost(place: tuple[float, float]) -> float:
        left, top = place
        outside = max(0, LEFT - left) + max(0, left + width - WIDTH + 2) + max(0, TOP - top) * 5
        covered = sum(
            max(0, min(left + width, tx + tw) - max(left, tx))
            * max(0, min(top + LINE, ty + th) - max(top, ty))
            for tx, ty, tw, th in taken
        )
        return 50 * outside + covered + 20 * max(0, top + LINE - HEIGHT + BOTTOM)

    best = min(places, key=cost)
    taken.append((*best, width, float(LINE)))
    return best
