"""What a sweep's folder holds of its runs: which are there, how far they are, whose they are.

A run lies in `FOLDER/runs/ROW--TASK+TASK--seedN`, what its processes say in `FOLDER/logs`.
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.checkpoint import checkpoints_of, newest_progress, read_manifest
from zoo.images import printable
from zoo.recipe import load_recipe, to_dict
from zoo.registry import UserError, nearest
from zoo.schema import Recipe
from zoo.sweep import Sweep, SweepRun

# What changes no weight. `data.workers` and `data.cache` only say how images are brought in.
_ANY = ("provenance", "description", "log", "samples", "data.workers", "data.cache")
_TOLD = ("evaluate", "checkpoint")  # changes which checkpoint is the best, and curves
_SHOWN = 8  # keys of a recipe in a message


@dataclass(frozen=True)
class Planned:
    """A run of a sweep and its place.

    Attributes:
        run: what to train.
        folder: where.
        logs: folder of what its processes say.
        cpu: stay on the CPU where there is a GPU.
    """

    run: SweepRun
    folder: Path
    logs: Path
    cpu: bool = False

    @property
    def id(self) -> str:
        """The folder's name, unique in the sweep."""
        return self.folder.name

    @property
    def log(self) -> Path:
        """What its processes have said."""
        return self.logs / f"{self.id}.log"

    @property
    def failure_file(self) -> Path:
        """There while its last process failed; says why."""
        return self.logs / f"{self.id}.failed"

    @property
    def images(self) -> int:
        """That it is to see."""
        return self.run.recipe.train.images

    def images_seen(self) -> int | None:
        """Images until its newest checkpoint; None: there is no such run yet."""
        if not (self.folder / "recipe.yaml").is_file():
            return None
        progress = newest_progress(self.folder)
        return progress.images_seen if progress else 0

    def state(self) -> str:
        """How far it is: "missing", "unfinished", "failed" or "done"."""
        seen = self.images_seen()
        if seen is not None and (seen >= self.images or self._gave_up(seen)):
            return "done"
        if self.failure_file.is_file():
            return "failed"
        return "missing" if seen is None else "unfinished"

    def _gave_up(self, seen: int) -> bool:
        """Whether the last evaluation ended it, as `evaluate.patience_images` had passed."""
        ours = self.run.recipe.evaluate
        if not ours.patience_images or not ours.every_images:
            return False
        last = seen // ours.every_images * ours.every_images
        return last - (best_images_seen(self.folder) or 0) >= ours.patience_images

    def failure(self) -> str | None:
        """Why its last process failed."""
        try:
            return self.failure_file.read_text(encoding="utf-8").strip()
        except OSError:
            return None

    def train_words(self) -> list[str]:
        """What follows `zoo` to make it."""
        run = self.run
        words = ["train", run.recipe_name, *run.overrides, "--out", str(self.folder)]
        return [*words, *self._where()]

    def resume_words(self) -> list[str]:
        """What follows `zoo` to go on with it."""
        return ["train", "--resume", str(self.folder), *self._where()]

    def _where(self) -> list[str]:
        return ["--cpu"] if self.cpu else []

    def command(self) -> str:
        """The command that makes it, for people."""
        return shlex.join(["zoo", *self.train_words()])


def best_images_seen(folder: Path) -> int | None:
    """When a run's best checkpoint was saved; None: none was kept."""
    try:
        best = checkpoints_of(folder) / "best"
        kept = best.parent / best.read_text(encoding="utf-8").strip()
        return int(read_manifest(kept)["images_seen"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def python_zoo(words: Sequence[str]) -> list[str]:
    """`zoo …` by this interpreter."""
    return [sys.executable, "-m", "zoo", *words]


def plan(
    sweep: Sweep,
    out: Path,
    *,
    debug: bool = False,
    only: Sequence[str] = (),
    cpu: bool = False,
) -> list[Planned]:
    """The runs of a sweep, all rows of a seed before the next seed, the null comparison last.

    So a sweep that is cut short holds whole tables of fewer seeds.

    Args:
        sweep: the sweep.
        out: its folder.
        debug: runs shrunk to seconds.
        only: labels of rows, or names of run folders; empty: everything.
        cpu: stay on the CPU where there is a GPU.

    Raises:
        UserError: no such row, rows without runs, or two whose folders would be the same.
    """
    runs_folder, logs = out.resolve() / "runs", out.resolve() / "logs"
    found = [
        Planned(run, runs_folder / folder_name(run), logs, cpu) for run in sweep.runs(debug=debug)
    ]
    _refuse_equal_names(found)
    if only:
        known = {run.id for run in found} | set(sweep.config.rows)
        for name in only:
            if name not in known:
                raise UserError(
                    f"--only {name}: {sweep.name} has no such row or run.{nearest(name, known)} "
                    f"Rows: {', '.join(sweep.config.rows)}"
                )
        found = [run for run in found if run.run.row in only or run.id in only]
    if not found:
        raise UserError(f"{sweep.name}: nothing to run; rows with published numbers only have none")
    seeds = list(dict.fromkeys(run.run.seed for run in found))
    return sorted(found, key=lambda planned: (planned.run.null, seeds.index(planned.run.seed)))


def folder_name(run: SweepRun) -> str:
    """`ROW--TASK+TASK--seedN`, of letters, digits and signs that are safe in file names."""
    tasks = "+".join(_safe(task) for task in run.tasks.values())
    return f"{_safe(run.row)}--{tasks}--seed{run.seed}"


def _safe(text: str) -> str:
    return re.sub(r"[^\w.=+-]+", "_", text).strip("._-") or "_"


def _refuse_equal_names(planned: Sequence[Planned]) -> None:
    """Two labels must not share a folder, on file systems that ignore case either."""
    rows: dict[str, str] = {}
    for item in planned:
        row = rows.setdefault(item.id.casefold(), item.run.row)
        if row != item.run.row:
            raise UserError(
                f"rows {row!r} and {item.run.row!r} would both write to runs/{item.id}; rename one"
            )


# Whose runs they are ------------------------------------------------------------------------------


def check_folders(planned: Sequence[Planned]) -> dict[str, list[str]]:
    """Refuse folders that hold something else than the sweep asks for.

    Returns:
        By run what differs without changing a weight: when checkpoints were kept and scored.

    Raises:
        UserError: a folder is no run, or its recipe differs; the keys are named, for every run.
    """
    problems, told = [], {}
    for item in planned:
        if not item.folder.exists():
            continue
        if not (item.folder / "recipe.yaml").is_file():
            problems.append(f"{printable(item.folder)} exists and is no run: it has no recipe.yaml")
            continue
        try:
            there = load_recipe(item.folder / "recipe.yaml")
        except UserError as error:
            problems.append(f"{printable(item.folder)}: its recipe cannot be read: {error}")
            continue
        different = differences(there, item.run.recipe)
        weighty = [text for key, text in different.items() if not _under(key, _TOLD)]
        if weighty:
            more = len(weighty) - _SHOWN
            shown = "; ".join(weighty[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
            problems.append(f"{printable(item.folder)} was made by another recipe: {shown}")
        elif different:
            told[item.id] = list(different.values())
    if problems:
        raise UserError(
            "\n".join(problems)
            + "\nchoose another --out, or move what is there away, to compare under this sweep"
        )
    return told


def differences(there: Recipe, wanted: Recipe) -> dict[str, str]:
    """What two recipes have unlike, by dotted key: "train.images is 10 there, 20 in the sweep".

    What `auto` came to agrees with `auto`. Keys that change no result are left out.
    """
    one, other = (dict(_flat(to_dict(recipe))) for recipe in (there, wanted))
    found = {}
    for key in dict.fromkeys([*other, *one]):
        a, b = one.get(key, _ABSENT), other.get(key, _ABSENT)
        if a == b or b == "auto" or _under(key, _ANY):
            continue
        found[key] = f"{key} is {_text(a)} there, {_text(b)} in the sweep"
    return found


_ABSENT: Any = object()


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _under(key: str, sections: Sequence[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _text(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value, default=str)
