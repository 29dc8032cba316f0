"""Means over seeds with intervals, and how much of the gap from source to oracle is closed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from eval.adaptation.arms import ArmResult
from eval.adaptation.recipe import SCORES
from eval.statistics import Row, difference, mean_interval

HIGHER = ("accuracy", "balanced_accuracy", "pixel_accuracy", "class_accuracy", "mean_iou")


def summary(
    results: Mapping[str, Sequence[ArmResult]],
    consistency: Mapping[str, Sequence[Mapping[str, Mapping[str, float | None]]]],
    classes: tuple[str, ...],
    task: str,
) -> dict[str, Any]:
    """What the tables show.

    Args:
        results: arm -> one result a seed.
        consistency: reader -> one mapping a seed, style -> score -> value.
        classes: names.
        task: "classification" or "segmentation".

    Returns:
        `arms`: arm -> `scores` (`eval.comparison.Interval` by name), `classes` (means over seeds),
        `gap_closed`, `less_source` (`eval.comparison.Difference` by name), `runs`; `gap`: score ->
        oracle less source with its interval and, where no gap can be told from chance, why;
        `consistency`: reader -> style -> score -> mean over seeds.
    """
    rows = {arm: _rows(arm, found, SCORES[task]) for arm, found in results.items()}
    gaps = _gaps(rows)
    return {
        "arms": {
            arm: {
                "scores": {name: asdict(mean_interval(row)) for name, row in rows[arm].items()},
                "classes": _class_means(found, classes),
                "gap_closed": _closed(rows, arm, gaps),
                "less_source": _less_source(rows, arm),
                "runs": [
                    {key: value for key, value in one.record.items() if key != "history"}
                    for one in found
                ],
            }
            for arm, found in results.items()
        },
        "gap": gaps,
        "consistency": {
            reader: {
                style: {name: _mean([seed[style][name] for seed in seeds]) for name in scores}
                for style, scores in seeds[0].items()
            }
            for reader, seeds in consistency.items()
        },
    }


def _rows(arm: str, found: Sequence[ArmResult], names: Sequence[str]) -> dict[str, Row]:
    resampled = [result.outcome.resampled() for result in found]
    scores = [result.outcome.scores() for result in found]
    return {
        name: Row(
            label=arm,
            values=[one[name] for one in scores],
            resampled=np.stack([one[name] for one in resampled]),
        )
        for name in names
    }


def _gaps(rows: Mapping[str, Mapping[str, Row]]) -> dict[str, Any]:
    """Oracle less source by score; empty where one of them was not trained."""
    if "oracle" not in rows or "source" not in rows:
        return {}
    gaps = {}
    for name in HIGHER:
        if name in rows["source"]:
            found = difference(rows["oracle"][name], rows["source"][name])
            flag = None
            if found.tie or found.value <= 0:
                flag = "oracle less source is within its interval: there may be no gap to close"
            gaps[name] = asdict(found) | {"flag": flag}
    return gaps


def _closed(
    rows: Mapping[str, Mapping[str, Row]], arm: str, gaps: Mapping[str, Any]
) -> dict[str, float | None]:
    """(arm - source) / (oracle - source) of the means over seeds; None where nobody can tell."""
    if arm in ("source", "oracle"):
        return {}

    def mean(name: str, score: str) -> float:
        return float(np.mean(rows[name][score].values))

    return {
        score: None
        if gap["value"] == 0
        else (mean(arm, score) - mean("source", score)) / gap["value"]
        for score, gap in gaps.items()
    }


def _less_source(rows: Mapping[str, Mapping[str, Row]], arm: str) -> dict[str, Any]:
    if arm == "source" or "source" not in rows:
        return {}
    return {name: asdict(difference(row, rows["source"][name])) for name, row in rows[arm].items()}


def _class_means(found: Sequence[ArmResult], classes: tuple[str, ...]) -> dict[str, Any]:
    """Means over seeds of every class's scores."""
    each = [result.outcome.classes(classes) for result in found]
    return {
        kind: {name: _mean([one[kind][name] for one in each]) for name in classes}
        for kind in each[0]
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
