"""A comparison as one HTML file that works offline: tables, differences, pictures, costs, runs.

The file loads nothing. Its content security policy allows the one script and the style sheets in
it by their hashes. Without the script everything is there; with it rows are filtered and sorted.
Everything that comes from a comparison (labels, commands, messages) is escaped, and pictures are
shown only if they are embedded.
"""

import base64
import datetime
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import zoo
from eval._compare import figures, tables
from eval._compare.words import between, headline, printed
from eval.comparison import Comparison, RunFacts, Shown

_HERE = Path(__file__).parent
_PLAIN = Shown(name="", title="", decimals=2)  # how a correlation is printed


def render(comparison: Comparison) -> str:
    """The page.

    Args:
        comparison: with at least one task and one metric.

    Returns:
        A whole HTML document.

    Raises:
        UserError: no tasks or no metrics.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "_compare"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _inlined("_report/style.css") + _inlined("_compare/style.css")
    script = _inlined("_compare/compare.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("compare.html.j2").render(
        made=comparison,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        said=headline(comparison),
        date=_date(comparison.made),
        picture=tables.picture,
        breakable=_breakable,
        folder_link=tables.folder_link,
        anchors=_anchors(comparison),
        footer=f"Made by Zoo {zoo.__version__}. This file loads nothing else.",
        **_sections(comparison),
    )


def _sections(made: Comparison) -> dict[str, Any]:
    """What the template shows, section by section."""
    every = [
        (t, task, m, shown)
        for t, task in enumerate(made.tasks)
        for m, shown in enumerate(made.metrics)
    ]
    return {
        "main": [tables.main_table(made, task) for task in made.tasks],
        "baselines": [tables.baselines(made, task) for task in made.tasks],
        "behind": {(t, m): tables.behind(made, task, shown) for t, task, m, shown in every},
        "matrices": {(t, m): tables.matrix(made, task, shown) for t, task, m, shown in every},
        "nulls": tables.nulls(made),
        "curves": {(t, m): figures.curves(made, task, shown) for t, task, m, shown in every},
        "costs": tables.costs(made),
        "plots": _plots(made),
        "correlations": _correlations(made),
        "published": [tables.published(made, table) for table in made.published],
        "seeds": [
            (s, [(n, run) for n, run in enumerate(made.runs) if run.seed == s]) for s in made.seeds
        ],
        "versions": _versions(made.runs),
        "warnings": [*made.warnings],
    }


def _inlined(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names what it allows."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _date(made: str) -> str:
    try:
        return f"{datetime.datetime.fromisoformat(made):%d %B %Y, %H:%M}"
    except ValueError:
        return made


def _breakable(label: str) -> Markup:
    """A label that may be broken after an underscore."""
    return Markup("_<wbr>").join(label.split("_"))


def _anchors(made: Comparison) -> dict[str, int]:
    """The number of the first run of each row, for links from what a whole row made."""
    found: dict[str, int] = {}
    for number, run in enumerate(made.runs):
        found.setdefault(run.row, number)
    return found


def _plots(made: Comparison) -> list[dict[str, Any]]:
    """Quality against cost for every task, metric and cost that at least two rows have."""
    found = []
    for cost in tables.COSTS:
        title = tables.cost_title(made, cost)
        for t, task in enumerate(made.tasks):
            for m, shown in enumerate(made.metrics):
                points = figures.points(made, f"{task}/{shown.name}", cost, shown)
                if len(points) < 2:
                    continue
                svg = figures.pareto(points, shown, cost, title)
                front = [point.label for point in points if point.front]
                found.append(
                    {
                        "cost": cost.name,
                        "title": title,
                        "task": t,
                        "metric": m,
                        "svg": svg,
                        "front": front,
                    }
                )
    return found


@dataclass
class _Correlation:
    """How a score orders runs, against a distance to the truth."""

    task: int
    metric: int | None  # its number, if the page shows it
    title: str
    truth: str
    value: float
    text: str
    span: str
    bar: Markup


def _correlations(made: Comparison) -> list[_Correlation]:
    titles = {shown.name: shown.title for shown in made.metrics}
    names, axis, found = list(titles), figures.Axis(-1, 1), []
    for t, task in enumerate(made.tasks):
        for truth, metrics in made.correlations.get(task, {}).items():
            for name, (value, *ends) in metrics.items():
                number = names.index(name) if name in names else None
                low, high = ends if len(ends) == 2 else (None, None)
                drawn = figures.bar(value, low, high, axis, zero=True)
                title, of = titles.get(name, name), titles.get(truth, truth)
                text, span = printed(value, _PLAIN), between(low, high, _PLAIN)
                found.append(_Correlation(t, number, title, of, value, text, span, drawn))
    return found


def _versions(runs: list[RunFacts]) -> dict[str, list[str]]:
    """Every version of a library that some run was made with."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for name, version in run.versions.items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return found
