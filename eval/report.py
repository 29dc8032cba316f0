"""Runs as one HTML file that needs nothing else: scores, curves, pictures, recipes.

The file loads nothing and runs no script; a content security policy says so to the browser. Images
in it are thumbnails, encoded anew. Everything that comes from a run (names, recipes, messages) is
escaped.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import zoo
from eval._report.charts import Line, chart, short
from eval._report.fcn import fcn_tables
from eval._report.pictures import grids, sample_grid
from eval._report.runs import Curve, RunData, read_run
from eval._report.tables import DIRECTIONS, facts, metric_order, score_tables
from eval.choosing import column_of, of_features
from eval.features import ALIASES
from eval.runner import default_cache, trivial_rows
from eval.scores import RUN, UNTRANSLATED, Score, write_whole
from zoo.images import printable
from zoo.registry import UserError

COLOURS = 8  # in the style sheet


def write_report(
    runs: Sequence[Path],
    out: Path,
    *,
    num_images: int = 6,
    trivial: bool = True,
    cache: Path | None = None,
) -> Path:
    """Write the report of one or more runs.

    What a run lacks is said in the report. Rows of trivial translators are fitted once for each
    data set with a known truth (minutes, the first time) and kept in `cache`.

    Args:
        runs: run folders; they may differ in data and method.
        out: the HTML file; one that is there is replaced.
        num_images: test images in each grid.
        trivial: whether to add the rows of trivial translators.
        cache: folder for those rows; None: `~/.cache/zoo/trivial`.

    Returns:
        `out`.

    Raises:
        UserError: no runs, a folder that is not a run, or an `out` that cannot be written.
    """
    if not runs:
        raise UserError("a report needs at least one run folder")
    folders = [Path(run) for run in runs]
    data = [read_run(f, n) for f, n in zip(folders, unique_names(folders), strict=True)]
    references = _references(data, cache) if trivial else []
    content = _render(data, references, num_images)
    out = Path(out)
    try:
        write_whole(out, content)
    except OSError as error:
        raise UserError(f"the report cannot be written to {printable(out)}: {error}") from None
    return out


def unique_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parents as it takes to tell them apart.

    Raises:
        UserError: the same folder twice.
    """
    whole = [folder.resolve().parts for folder in folders]
    for parts in whole:
        if whole.count(parts) > 1:
            raise UserError(f"the run {printable(Path(*parts))} is given twice")
    depth = 1
    while len({parts[-depth:] for parts in whole}) < len(whole):
        depth += 1
    return [printable("/".join(parts[-depth:])) for parts in whole]


def _references(runs: Sequence[RunData], cache: Path | None) -> list[Score]:
    """Rows of the trivial translators for every way in which runs with a truth were scored."""
    rows: dict[tuple[Any, ...], list[Score]] = {}
    for run in runs:
        own = [s for s in run.scores if s.translator == RUN]
        scored = next((s for s in own if s.metric == "kid_target" and s.value is not None), None)
        if scored is None or not any(s.metric == "l1" and s.value is not None for s in own):
            continue
        key = (scored.test_images, scored.extractor, scored.image_size)
        if key in rows:
            continue
        splits = {str(s.reference) for s in own if of_features(s)}
        try:
            rows[key] = trivial_rows(
                run.folder / "recipe.yaml",
                extractor=str(scored.extractor),
                num_images=max(score.num_fake for score in own),
                reference=splits.pop() if len(splits) == 1 else "auto",
                seed=scored.seed or 0,
                cache=default_cache() if cache is None else cache,
                test_images=scored.test_images,
            )
        except Exception as error:  # plug-ins and data of others may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            run.warnings.append(f"has no rows of trivial translators: {printable(reason)}")
    return [score for scores in rows.values() for score in scores]


def _render(runs: Sequence[RunData], references: Sequence[Score], num_images: int) -> str:
    pictures = grids(runs, num_images)
    samples = [sample_grid(run) for run in runs]
    fcn = fcn_tables(runs)
    headings = [column.heading for grid in pictures for column in grid.columns]
    folder = Path(__file__).parent / "_report"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    now = datetime.datetime.now().astimezone()
    return environment.get_template("report.html.j2").render(
        title=" · ".join(run.name for run in runs) if len(runs) <= 3 else f"{len(runs)} runs",
        subtitle=f"{now:%d %B %Y, %H:%M} · Zoo {zoo.__version__}",
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        runs=runs,
        facts=[facts(run) for run in runs],
        tables=score_tables(runs, references),
        fcn=fcn,
        grids=pictures,
        any_maps=any(heading.endswith(" · CAM") for heading in headings),
        any_truth="truth" in headings,
        evaluations=_evaluations(runs),
        terms={"raw": _curves(runs, "raw"), "weighted": _curves(runs, "weighted")},
        rates=_curves(runs, "rates"),
        samples=samples,
        origins=[_origin(run) for run in runs],
        warnings=[(run.name, text) for run in runs for text in run.warnings],
        footer=f"Made by zoo report, version {zoo.__version__}. This file loads nothing else.",
    )


def _origin(run: RunData) -> str:
    """Commit, versions and the like, as the trainer recorded them."""
    provenance = run.get("provenance")
    if not isinstance(provenance, Mapping):
        return ""
    words = []
    for key, value in provenance.items():
        if key in ("command", "parameters"):
            continue
        if isinstance(value, Mapping):
            words += [f"{name} {text}" for name, text in value.items()]
        elif value not in (None, ""):
            words.append(f"{key} {value}")
    return " · ".join(words)


def _curves(runs: Sequence[RunData], kind: str) -> list[dict[str, Any]]:
    """One chart for every key that some run has logged."""
    logged = [getattr(run, kind) for run in runs]
    keys = dict.fromkeys(key for curves in logged for key in curves)
    figures = []
    for key in keys:
        curves = {i: found[key] for i, found in enumerate(logged) if key in found}
        unit = _weight(key, [runs[i] for i in curves]) if kind == "weighted" else ""
        figures.append(_figure(key, unit, curves, runs))
    return figures


def _weight(key: str, runs: Sequence[RunData]) -> str:
    """The weight of a term, if all runs give it the same."""
    weights = {
        f"× {short(run.weighted[key].values[-1] / run.raw[key].values[-1])}"
        for run in runs
        if key in run.raw and run.raw[key].values[-1]
    }
    return weights.pop() if len(weights) == 1 else ""


def _evaluations(runs: Sequence[RunData]) -> list[dict[str, Any]]:
    """Charts of the scores in training, apart for each extractor and data set."""
    members: dict[tuple[str, str], list[int]] = {}
    for index, run in enumerate(runs):
        if run.evaluations:
            members.setdefault((_training_extractor(run), run.data_key), []).append(index)
    groups = []
    for (extractor, _), indices in members.items():
        keys = {key for i in indices for key in runs[i].evaluations}
        charts: dict[str, list[dict[str, Any]]] = {}  # by direction
        for key in _in_order_of_columns(keys):
            direction = key.partition("/")[2]
            curves = {i: c for i in indices if (c := runs[i].evaluations.get(key))}
            heading = DIRECTIONS.get(direction, direction.capitalize())
            charts.setdefault(heading, []).append(_score_figure(key, curves, runs))
        comparable = extractor.startswith("inception")
        groups.append({"extractor": extractor, "comparable": comparable, "charts": charts})
    return groups


def _training_extractor(run: RunData) -> str:
    """The full name of the features that scores during training are taken on."""
    name = str(run.get("evaluate", "extractor") or "unknown")
    return ALIASES.get(name, name)


def _in_order_of_columns(keys: Iterable[str]) -> list[str]:
    metrics, directions = metric_order(key.partition("/")[0] for key in keys), list(DIRECTIONS)

    def place(key: str) -> tuple[int, int, str]:
        metric, _, direction = key.partition("/")
        known = direction in directions
        column = directions.index(direction) if known else len(directions)
        return column, metrics.index(metric), key

    return sorted(keys, key=place)


def _score_figure(key: str, curves: Mapping[int, Curve], runs: Sequence[RunData]) -> dict[str, Any]:
    metric = key.partition("/")[0]
    name, better, factor, _ = column_of(metric)
    scaled = {
        index: Curve(curve.images, [value * factor for value in curve.values])
        for index, curve in curves.items()
    }
    level = _untranslated(key, [runs[index] for index in curves]) if metric != "fid" else None
    return _figure(
        name,
        f"{better} is better",
        scaled,
        runs,
        level=None if level is None else (level * factor, "untranslated"),
        markers=True,
    )


def _untranslated(key: str, runs: Sequence[RunData]) -> float | None:
    """The untranslated images' score, if it was taken on the features that training used."""
    for run in runs:
        for score in run.scores:
            same = score.extractor in (None, _training_extractor(run))
            if score.key == key and score.translator == UNTRANSLATED and same:
                return score.value
    return None


def _figure(
    title: str,
    unit: str,
    curves: Mapping[int, Curve],
    runs: Sequence[RunData],
    *,
    level: tuple[float, str] | None = None,
    markers: bool = False,
) -> dict[str, Any]:
    lines = [
        Line(runs[index].name, index % COLOURS, curve.images, curve.values, markers)
        for index, curve in curves.items()
    ]
    last = [(index, short(curve.values[-1])) for index, curve in curves.items()]
    return {"title": title, "unit": unit, "svg": chart(lines, level), "last": last}
