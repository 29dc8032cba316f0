"""A sweep's runs as one comparison: scores over seeds, what is a tie, cost, tables, a page.

`compare` reads what runs and their evaluations have left, and trains or scores nothing itself.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval._compare import csv_file, latex, markdown
from eval._compare.costs import costs
from eval._compare.judging import judge
from eval._compare.pictures import add_pictures
from eval._compare.plan import Planned, plan
from eval._compare.protocols import keep_one_protocol, protocol_of, protocol_sentence
from eval._compare.reading import ReadRun, read_all
from eval.choosing import columns, owner_of
from eval.comparison import Comparison, Interval, PublishedTable, Shown
from eval.runner import default_cache, trivial_rows
from eval.scores import UNTRANSLATED, Score, write_whole
from zoo.images import printable
from zoo.registry import METRICS, UserError
from zoo.sweep import Sweep
from zoo.typed import Checker, to_node

__all__ = ["compare", "plan", "read_comparison", "write_comparison"]

PILOT_IMAGES = 5000  # runs of fewer images make a pilot only
PICTURES = 8  # test images in a grid


def compare(
    sweep: Sweep,
    planned: Sequence[Planned],
    out: Path,
    *,
    command: str = "",
    trivial: bool = True,
    cache: Path | None = None,
    told: Mapping[str, Sequence[str]] | None = None,
) -> Comparison:
    """What the runs of a sweep say.

    Args:
        sweep: the sweep.
        planned: all its runs; those that are missing or cut short are shown so.
        out: the sweep's folder, that links start from.
        command: how the comparison was asked for.
        trivial: whether to add the scores of trivial translators, fitted once (minutes) where data
            have a known truth.
        cache: folder for those; None: `~/.cache/zoo/trivial`.
        told: what recipes of runs have unlike those of the sweep, by run.
    """
    config = sweep.config
    made = Comparison(
        sweep=sweep.name,
        description=config.description,
        command=command,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        tasks=list(config.tasks),
        seeds=list(config.seeds),
        rows=list(config.rows),
        null_row=config.null.row if config.null else None,
        null_seeds=list(config.null.seeds) if config.null else [],
        level=asdict(config.level) if config.level else None,
        published=[_published(table) for table in config.published],
    )
    runs = read_all(planned, out, config.metrics)
    made.runs = [run.facts for run in runs]
    for facts in made.runs:
        facts.warnings += (told or {}).get(facts.id, [])
    made.metrics = _shown(config.metrics, runs, made.warnings)
    protocols = keep_one_protocol(made, runs)
    for run in runs:
        run.facts.scores = {
            which: _intervals(found) for which, found in run.scores.items() if found
        }
    _describe_protocols(made, runs)
    judge(made, runs)
    made.costs = costs(made, runs)
    made.baselines = _untranslated(runs)
    if trivial:
        _add_trivial(made, runs, protocols, default_cache() if cache is None else cache)
    add_pictures(made, runs, PICTURES)
    made.pilot = _pilot(runs)
    made.warnings += _warnings(made, runs)
    return made


def _published(table: Any) -> PublishedTable:
    values = {
        row: {task: list(v) if isinstance(v, tuple) else [v] for task, v in cells.items()}
        for row, cells in table.values.items()
    }
    return PublishedTable(
        source=table.source,
        metric=table.metric,
        convention=table.convention,
        better=table.better,
        scale=table.scale,
        verified=table.verified,
        values=values,
    )


def _shown(names: Sequence[str], runs: Sequence[ReadRun], warnings: list[str]) -> list[Shown]:
    """How the sweep's scores are printed; one that no run has is left out, and told with why."""
    known, found = columns(), []
    for name in names:
        keys = {key for run in runs for key in run.scores["final"] if key.endswith(f"/{name}")}
        if keys or not any(run.facts.state == "done" for run in runs):
            owner: Any = METRICS[owner_of(name) or ""] if name in known else None
            if owner is None:
                found.append(Shown(name=name, title=name))
                continue
            column = known[name]
            found.append(
                Shown(
                    name=name,
                    title=column.title,
                    better=column.better,
                    scale=column.scale,
                    decimals=column.decimals,
                    truth="pairs" in owner.needs,
                )
            )
            continue
        if name not in known:
            warnings.append(f"{name}: Zoo has no such score")
            continue
        reasons = (
            text
            for run in runs
            for key, text in run.unavailable.items()
            if key.endswith(f"/{name}")
        )
        why = " ".join(next(reasons, "it was not computed").split())
        warnings.append(f"{name}: no run has it: {why}")
    return found


def _intervals(scores: dict[str, Score]) -> dict[str, Interval]:
    return {
        key: Interval(value=score.value, low=score.low, high=score.high)
        for key, score in scores.items()
        if score.value is not None
    }


def _describe_protocols(made: Comparison, runs: Sequence[ReadRun]) -> None:
    for task in made.tasks:
        scores = [
            score
            for run in runs
            for key, score in run.scores["final"].items()
            if key.rpartition("/")[0] == task
        ]
        if scores:
            made.protocol[task] = protocol_sentence(scores)
            flags = [score.comparable for score in scores if score.comparable is not None]
            made.comparable[task] = all(flags)


def _untranslated(runs: Sequence[ReadRun]) -> dict[str, dict[str, float]]:
    values: dict[str, float] = {}
    for run in runs:
        for key, score in run.untranslated.items():
            if score.value is not None:
                values.setdefault(key, score.value)
    return {UNTRANSLATED: values} if values else {}


def _add_trivial(
    made: Comparison, runs: Sequence[ReadRun], protocols: dict[str, tuple], cache: Path
) -> None:
    """Rows of trivial translators for every set of test images with a known truth."""
    truths = {shown.name for shown in made.metrics if shown.truth}
    seen: set[tuple[Any, ...]] = set()
    for run in runs:
        scores = list(run.scores["final"].values())
        featured = next((s for s in scores if s.metric == "kid_target"), None)
        if featured is None or not any(score.metric in truths for score in scores):
            continue
        data = (featured.test_images, featured.extractor, featured.image_size)
        if data in seen:
            continue
        seen.add(data)
        try:
            rows = trivial_rows(
                run.item.run.recipe,
                extractor=str(featured.extractor),
                num_images=featured.num_fake,
                reference=str(featured.reference),
                seed=featured.seed or 0,
                cache=cache,
                test_images=featured.test_images,
            )
        except Exception as error:  # plug-ins and data of others may raise anything
            made.warnings.append(f"no rows of trivial translators: {printable(str(error))}")
            continue
        for score in rows:
            task = run.facts.tasks.get(score.direction)
            key = f"{task}/{score.metric}"
            if task is None or score.value is None or score.translator == UNTRANSLATED:
                continue
            if protocols.get(key) == protocol_of(score):
                label = f"{score.translator} (saw pairs)" if score.saw_pairs else score.translator
                made.baselines.setdefault(label, {})[key] = score.value


def _pilot(runs: Sequence[ReadRun]) -> str | None:
    fewest = min((run.facts.images_seen for run in runs if run.in_table), default=0)
    if fewest >= PILOT_IMAGES or not any(run.in_table for run in runs):
        return None
    return (
        f"runs saw as few as {fewest:,} images; below {PILOT_IMAGES:,} a comparison shows "
        f"that things work, not which method is better"
    )


def _warnings(made: Comparison, runs: Sequence[ReadRun]) -> list[str]:
    """What a reader has to know before believing the tables."""
    found = []
    absent = [run.facts for run in runs if run.facts.state != "done"]
    if absent:
        states = Counter((facts.row, facts.state) for facts in absent)
        words = (f"{row}, {count} {state}" for (row, state), count in states.items())
        found.append(f"{len(absent)} of {len(runs)} runs are not done: {'; '.join(words)}")
    found += [
        f"{run.facts.id} is done, but has no scores: {run.facts.reason or 'none were taken'}"
        for run in runs
        if run.facts.state == "done" and not run.scores["final"]
    ]
    table = [run for run in runs if run.in_table]
    for fact, what in (
        ("images_seen", "runs saw different numbers of images"),
        ("commit", "runs were trained by different versions of the code"),
        ("device", "runs were trained on different devices, so their costs do not compare"),
    ):
        values: dict[Any, list[str]] = {}
        for run in table:
            values.setdefault(getattr(run.facts, fact), []).append(run.facts.row)
        if len(values) > 1:
            parts = (f"{value}: {', '.join(dict.fromkeys(rows))}" for value, rows in values.items())
            found.append(f"{what} ({'; '.join(parts)})")
    if any((run.facts.commit or "").endswith("-dirty") for run in table):
        found.append("some runs were trained by code with changes that no commit has (-dirty)")
    return found


# Files -------------------------------------------------------------------------------------------


def write_comparison(made: Comparison, out: Path) -> list[Path]:
    """Write comparison.json, .html, .md, .tex and .csv into a folder, each whole or not at all.

    Raises:
        UserError: a file cannot be written.
    """
    from eval.compare_page import render

    texts = {
        "comparison.html": render(made),
        "comparison.md": markdown.render(made),
        "comparison.tex": latex.render(made),
        "comparison.csv": csv_file.render(made),
        "comparison.json": json.dumps(asdict(made), indent=1, ensure_ascii=False) + "\n",
    }
    try:
        for name, text in texts.items():
            write_whole(out / name, text)
    except OSError as error:
        raise UserError(f"{printable(out)}: cannot be written: {error.strerror}") from error
    return [out / name for name in texts]


def read_comparison(path: Path) -> Comparison:
    """The comparison of a comparison.json.

    Raises:
        UserError: it cannot be read, or is none.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{printable(path)}: cannot be read as a comparison: {error}") from None
    checker = Checker()
    made = checker.config(Comparison, to_node(content, printable(path)), "")
    if checker.problems:
        raise UserError("\n".join(checker.problems[:8]))
    return made
