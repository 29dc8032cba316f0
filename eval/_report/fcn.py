"""Tables of FCN-scores: runs read by one segmenter, or by colours, on the same scenes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval._report.runs import RunData
from zoo.images import printable

FILE = "fcn_score.json"
_RUN = "run"
_SCORES = ("pixel_accuracy", "class_accuracy", "mean_iou")


@dataclass
class FcnRow:
    """One row: its name, the colour of its run if it is one, and three cells.

    Attributes:
        label: what was read.
        colour: of the run; None for real photos, untranslated pictures and chance.
        cells: (value, its share of the real score, its interval) of each score, as text.
    """

    label: str
    colour: int | None
    cells: list[tuple[str, str, str]]


@dataclass
class FcnTable:
    """Rows that may be compared.

    Attributes:
        title: direction and scenes.
        segmenter: the network that read, with its own score; None where colours were read.
        note: what the numbers are not comparable with.
        rows: the real photos first, then runs, then what they have to beat.
    """

    title: str
    segmenter: str | None
    note: str
    rows: list[FcnRow] = field(default_factory=list)


def fcn_tables(runs: Sequence[RunData]) -> list[FcnTable]:
    """The tables of all runs that have scores; a broken file is a warning of its run."""
    tables: dict[tuple[str, str, str], FcnTable] = {}
    for colour, run in enumerate(runs):
        file = run.folder / FILE
        if not file.is_file():
            continue
        try:
            found = json.loads(file.read_bytes())["directions"].values()
            for direction in found:
                _add(tables, direction, run, colour)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = printable(f"{type(error).__name__}: {error}")
            run.warnings.append(f"has a broken {FILE} ({reason}): run zoo fcn score again.")
    return list(tables.values())


def _add(
    tables: dict[tuple[str, str, str], FcnTable],
    found: Mapping[str, Any],
    run: RunData,
    colour: int,
) -> None:
    by, task = found["segmenter"], str(found["task"])
    rows = {str(row["row"]): _cells(row) for row in found["rows"]}
    own = FcnRow(run.name, colour, rows.pop(_RUN))
    key = (task, str(found["data_sha256"]), str(by["sha256"]) if by else "")
    table = tables.get(key)
    if table is None:
        title = f"{task.capitalize()}: {found['images']} scenes, {found['data']}"
        new = FcnTable(title, _segmenter(by) if by else None, str(found["note"]))
        new.rows = [FcnRow(name, None, cells) for name, cells in rows.items()]
        table = tables[key] = new
    place = 1 + sum(row.colour is not None for row in table.rows)
    table.rows.insert(place, own)


def _segmenter(found: Mapping[str, Any]) -> str:
    real = found["real"]["mean_iou"]["value"]
    return (
        f"{found['model']['name']} {found['sha256'][:16]}, trained on "
        f"{found['data']['train_photos']} photos at {found['side']} pixels scaled up; mean IoU on "
        f"its own real test photos {real:.3f}"
    )


def _cells(row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [_cell(row[name]) for name in _SCORES]


def _cell(score: Mapping[str, Any]) -> tuple[str, str, str]:
    value, share, low, high = (score[name] for name in ("value", "of_real", "low", "high"))
    return (
        "–" if value is None else f"{value:.3f}",
        "" if share is None else f"{share:.2f} of real",
        "" if low is None or high is None else f"{low:.3f}–{high:.3f}",
    )
