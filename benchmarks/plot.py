"""Lines over logarithmic axes as an SVG file of its own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 30, 42
COLOURS = ("#888888", "#1f6fb4", "#d1622b", "#3a8f4d", "#8455a5")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One diagram.

    Attributes:
        title: above it.
        across: what the horizontal axis counts.
        lines: positive points by label, from left to right.
    """

    title: str
    across: str
    lines: Mapping[str, Points]


def svg(panels: Sequence[Panel]) -> str:
    """The panels beside each other; a label has the same colour in all of them."""
    labels = list(dict.fromkeys(label for panel in panels for label in panel.lines))
    colours = {label: COLOURS[n % len(COLOURS)] for n, label in enumerate(labels)}
    width = WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + 24}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for n, panel in enumerate(panels):
        parts.append(f'<g transform="translate({n * WIDTH} 0)">{_panel(panel, colours)}</g>')
    for n, (label, colour) in enumerate(colours.items()):
        x, y = LEFT + n * (width - LEFT) / len(colours), HEIGHT + 12
        parts.append(f'<circle cx="{x:.0f}" cy="{y - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 9:.0f}" y="{y}">{escape(label)}</text>')
    return "".join(parts) + "</svg>\n"


def _panel(panel: Panel, colours: Mapping[str, str]) -> str:
    points = [point for line in panel.lines.values() for point in line]
    x = _Axis.over([at for at, _ in points], LEFT + 8, WIDTH - RIGHT - 8)
    y = _Axis.over([value for _, value in points], HEIGHT - BOTTOM - 8, TOP + 8)
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(panel.title)}</text>']
    for value in y.ticks():
        at = y(value)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{right}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts += [
        f'<text x="{x(value):.1f}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>'
        for value in sorted({at for at, _ in points})
    ]
    parts.append(f'<path d="M{LEFT} {bottom}H{right}" stroke="#444444"/>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{bottom + 32}" text-anchor="middle">{escape(panel.across)}</text>'
    )
    for label, line in panel.lines.items():
        places = [(x(at), y(value)) for at, value in line]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colours[label]}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colours[label]}"/>' for a, b in places
        ]
    return "".join(parts)


@dataclass(frozen=True)
class _Axis:
    """Positive numbers to pixels, logarithmic."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> "_Axis":
        low, high = min(values), max(values)
        return cls(low, high, start, end) if low < high else cls(low / 2, low * 2, start, end)

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """1, 2 and 5 times powers of ten inside; powers of ten alone where those are many."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        factors = (1,) if len(powers) > 3 else (1, 2, 5)
        values = [factor * 10.0**power for power in powers for factor in factors]
        return [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]
