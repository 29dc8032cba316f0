"""Line charts as inline SVG: no scripts, colours from the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 10, 26
BINS = 160  # points drawn of one line; more lines of the log are averaged


@dataclass(frozen=True)
class Line:
    """One run's curve.

    Attributes:
        label: the run.
        colour: its number in the style sheet's palette.
        images: positions, increasing.
        values: finite numbers.
        markers: whether each point is drawn, for curves of few points.
        low: lower edge of a band, at each position; None: the least of what was binned.
        high: its upper edge.
        number: written as `data-row`, for a page that hides lines.
    """

    label: str
    colour: int
    images: Sequence[float]
    values: Sequence[float]
    markers: bool = False
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    number: int | None = None


def chart(
    lines: Sequence[Line], level: tuple[float, str] | None = None, log_from: float = 100
) -> Markup:
    """Draw lines over images seen.

    A line is the mean over bins of images, its band their least and greatest value or the one that
    it brings. The vertical axis is logarithmic where all values are positive and span a factor of
    more than `log_from`.

    Args:
        lines: at least one, none empty.
        level: a value and its name, drawn as a dashed horizontal line.
        log_from: from which factor on the axis is logarithmic.
    """
    binned = [(line, _binned(line)) for line in lines]
    values = [v for _, points in binned for point in points for v in point[1:]]
    values += [level[0]] if level else []
    last = max(point[0] for _, points in binned for point in points)
    first = min(0, min(point[0] for _, points in binned for point in points))
    logarithmic = min(values) > 0 and max(values) > log_from * min(values)
    y = Scale.over(values, HEIGHT - BOTTOM, TOP, logarithmic)
    x = Scale(first, last if last > first else first + 1, LEFT, WIDTH - RIGHT)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
        f' aria-label="{escape(_spoken(lines))}">',
    ]
    for tick in y.ticks(5):
        at = y(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">'
            f"{short(tick)}</text>"
        )
    for tick in x.ticks(4):
        at = x(tick)
        anchor = "end" if at > WIDTH - RIGHT - 12 else "middle"
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">'
            f"{short(tick)}</text>"
        )
    parts.append(
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
        f'y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
    )
    if logarithmic:
        parts.append(f'<text class="tick" x="{LEFT + 4}" y="{TOP + 10}">log scale</text>')
    if level:
        at = y(level[0])
        parts.append(
            f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="tick" x="{WIDTH - RIGHT}" y="{at - 4:.1f}" text-anchor="end">'
            f"{escape(level[1])}</text>"
        )
    parts += [_drawn(line, points, x, y) for line, points in binned]
    return Markup("".join(parts) + "</svg>")


def _drawn(line: Line, points: list[tuple[float, ...]], x: "Scale", y: "Scale") -> str:
    path = " ".join(f"{x(at):.1f},{y(mean):.1f}" for at, mean, _, _ in points)
    upper = [f"{x(at):.1f},{y(high):.1f}" for at, _, _, high in points]
    lower = [f"{x(at):.1f},{y(low):.1f}" for at, _, low, _ in reversed(points)]
    number = "" if line.number is None else f' data-row="{line.number}"'
    drawn = f'<g class="run{line.colour}"{number}><title>{escape(line.label)}</title>'
    if any(low < high for _, _, low, high in points):
        drawn += f'<polygon class="band" points="{" ".join(upper + lower)}"/>'
    drawn += f'<polyline class="line" points="{path}"/>'
    if line.markers or len(points) == 1:
        drawn += "".join(
            f'<circle class="dot" cx="{x(at):.1f}" cy="{y(mean):.1f}" r="2.6"/>'
            for at, mean, _, _ in points
        )
    return drawn + "</g>"


def _spoken(lines: Sequence[Line]) -> str:
    """What a screen reader says of the chart."""
    ends = "; ".join(f"{line.label}: {short(line.values[-1])}" for line in lines)
    return f"Curve over images seen. Last values: {ends}"


def _binned(line: Line) -> list[tuple[float, ...]]:
    """(images, mean, band's low, high) for each of at most BINS groups of neighbours."""
    size = math.ceil(len(line.values) / BINS)
    points: list[tuple[float, ...]] = []
    for start in range(0, len(line.values), size):
        part = slice(start, start + size)
        group, at = line.values[part], line.images[part]
        low, high = (line.low or line.values)[part], (line.high or line.values)[part]
        points.append((sum(at) / len(at), sum(group) / len(group), min(low), max(high)))
    return points


@dataclass(frozen=True)
class Scale:
    """Values to pixels.

    Attributes:
        low: least value.
        high: greatest value.
        start: pixel of `low`.
        end: pixel of `high`.
        logarithmic: equal factors are equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, logarithmic: bool) -> "Scale":
        """A scale with a margin; it begins at 0 where that costs little."""
        low, high = min(values), max(values)
        if logarithmic:
            return cls(low / 1.2, high * 1.2, start, end, True)
        if low == high:
            margin = abs(low) / 2 or 1.0
            return cls(0.0 if low > 0 else low - margin, high + margin, start, end)
        if 0 < low < high / 2:  # a visible zero shows proportions
            return cls(0.0, high * 1.05, start, end)
        margin = (high - low) * 0.06
        return cls(0.0 if low == 0 else low - margin, high + margin, start, end)

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """Round numbers inside the scale."""
        if self.logarithmic:
            decades = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            if len(decades) >= 3:
                return [10.0**power for power in decades[:: math.ceil(len(decades) / (about + 1))]]
            powers = range(decades.start - 1, decades.stop + 1)
            fine = [m * 10.0**power for power in powers for m in (1, 2, 5)]
            return [tick for tick in fine if self.low <= tick <= self.high]
        step = round_step((self.high - self.low) / about)
        count = math.floor(self.high / step + 1e-9) - math.ceil(self.low / step - 1e-9) + 1
        return [(math.ceil(self.low / step - 1e-9) + i) * step for i in range(count)]


def round_step(step: float) -> float:
    """The number of the form 1, 2 or 5 times a power of ten next above `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * 0.999)


def short(value: float) -> str:
    """A number in few characters: 0.25, 40k, 1.2M, 3e-05."""
    size = abs(value)
    if size < 1e-12:
        return "0"
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    if size >= 1e3:
        return f"{value:.0f}"
    return f"{value:.3g}" if size >= 1e-3 else f"{value:.1e}".replace(".0e", "e")
