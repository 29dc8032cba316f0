"""Run folders, read for showing: what is missing or broken becomes a warning, never an error."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from eval.scores import Score, is_finite, read_scores
from zoo.images import printable
from zoo.registry import UserError

LARGEST_RECIPE = 1_000_000  # bytes; longer ones are no recipes


@dataclass
class Curve:
    """One logged value against images seen."""

    images: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass
class RunData:
    """What is known of one run.

    Attributes:
        folder: where it lies.
        name: what it is called in the report, unique there.
        recipe_text: recipe.yaml as it is.
        recipe: the same parsed; empty if it cannot be.
        raw: curves of the terms, by key.
        weighted: the same times their weights.
        rates: learning rates by player.
        evaluations: scores during training by `metric/direction`.
        images_seen: of the last line of metrics.jsonl.
        images_per_s: median over metrics.jsonl.
        clock: seconds of training.
        peak_bytes: most memory of the training's processes, where it was recorded.
        waiting: share of the time in which training waited for data, median over metrics.jsonl.
        scores: records of scores.json.
        has_weights: whether there is something to translate with.
        warnings: what is missing or broken, with the remedy.
    """

    folder: Path
    name: str
    recipe_text: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Curve] = field(default_factory=dict)
    weighted: dict[str, Curve] = field(default_factory=dict)
    rates: dict[str, Curve] = field(default_factory=dict)
    evaluations: dict[str, Curve] = field(default_factory=dict)
    images_seen: int | None = None
    images_per_s: float | None = None
    clock: Curve = field(default_factory=Curve)
    peak_bytes: int | None = None
    waiting: float | None = None
    scores: list[Score] = field(default_factory=list)
    has_weights: bool = False
    warnings: list[str] = field(default_factory=list)

    def get(self, *path: str) -> Any:
        """A value of the recipe, such as `get("method", "name")`; None where there is none."""
        value: Any = self.recipe
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    @property
    def command(self) -> str | None:
        """The command that made the run."""
        command = self.get("provenance", "command")
        if isinstance(command, list):
            return shlex.join(str(word) for word in command)
        return None if command is None else str(command)

    @property
    def parameters(self) -> dict[str, int]:
        """Number of parameters by network."""
        counts = self.get("provenance", "parameters")
        if not isinstance(counts, Mapping):
            return {}
        return {str(name): count for name, count in counts.items() if isinstance(count, int)}

    @property
    def data_key(self) -> str:
        """The same for runs on the same pictures, whatever size or augmentation."""
        data = self.get("data")
        if not isinstance(data, Mapping):
            return ""
        how = {"size", "load_size", "flip", "workers", "cache"}
        return json.dumps({str(k): v for k, v in data.items() if k not in how}, default=str)


def read_run(folder: Path, name: str) -> RunData:
    """Read what there is.

    Raises:
        UserError: the folder is no run folder.
    """
    run = RunData(folder, name)
    recipe, metrics = folder / "recipe.yaml", folder / "metrics.jsonl"
    if not recipe.is_file() and not metrics.is_file():
        what = "is not a run folder" if folder.is_dir() else "does not exist"
        raise UserError(
            f"{printable(folder)} {what}: looked for recipe.yaml and metrics.jsonl in it; "
            "a run folder is what `zoo train` made"
        )
    _read_recipe(run, recipe)
    _read_metrics(run, metrics)
    _read_scores(run, folder / "scores.json")
    run.has_weights = any((folder / "checkpoints").glob("images_*")) or any(
        folder.glob("*.safetensors")  # as shipped
    )
    if not run.has_weights:
        run.warnings.append("has no checkpoints, so nothing can be translated with it.")
    return run


def _read_recipe(run: RunData, path: Path) -> None:
    if not path.is_file():
        run.warnings.append("has no recipe.yaml: how it was made is not known.")
        return
    try:
        if path.stat().st_size > LARGEST_RECIPE:
            raise ValueError(f"it has more than {LARGEST_RECIPE} bytes")
        run.recipe_text = path.read_bytes().decode("utf-8", errors="replace")
        recipe = yaml.safe_load(run.recipe_text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        run.warnings.append(f"has a recipe.yaml that cannot be read: {reason}")
        return
    if isinstance(recipe, dict):
        run.recipe = recipe
    else:
        run.warnings.append("has a recipe.yaml that is not a mapping.")


def _read_metrics(run: RunData, path: Path) -> None:
    if not path.is_file():
        run.warnings.append("has no metrics.jsonl, hence no curves.")
        return
    training: list[dict[str, Any]] = []
    evaluations: list[dict[str, Any]] = []
    try:
        lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    except OSError as error:
        run.warnings.append(f"has a metrics.jsonl that cannot be read: {error}")
        return
    bad = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        line = _line(text)
        if line is None:
            bad.append(number)
        elif isinstance(line.get("scores"), dict):
            _append(evaluations, line)
        else:
            _append(training, line)
    if bad == [len(lines)]:
        run.warnings.append("has a last line of metrics.jsonl that was cut short; it is left out.")
    elif bad:
        shown = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        run.warnings.append(f"has {len(bad)} unreadable lines in metrics.jsonl ({shown}).")
    if not training:
        run.warnings.append("has no training lines in metrics.jsonl yet.")
    for line in training:
        for kind, curves in (("terms", run.raw), ("weighted", run.weighted), ("lr", run.rates)):
            _collect(curves, line["images"], line.get(kind))
    for line in evaluations:
        _collect(run.evaluations, line["images"], line["scores"])
    run.images_per_s = _median(training, "images_per_s")
    run.waiting = _median(training, "waiting")
    for line in training:
        if _is_number(line.get("seconds")):
            run.clock.images.append(line["images"])
            run.clock.values.append(line["seconds"])
    peaks = [line["peak_bytes"] for line in training if _is_number(line.get("peak_bytes"))]
    run.peak_bytes = int(max(peaks)) if peaks else None
    run.images_seen = int(training[-1]["images"]) if training else None


def _median(lines: list[dict[str, Any]], key: str) -> float | None:
    values = [line[key] for line in lines if _is_number(line.get(key))]
    return median(values) if values else None


def _line(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and _is_number(line.get("images")) else None


def _append(lines: list[dict[str, Any]], line: dict[str, Any]) -> None:
    """Add a line; a resumed run repeats images, and what it repeats replaces what was there."""
    while lines and lines[-1]["images"] >= line["images"]:
        lines.pop()
    lines.append(line)


def _collect(curves: dict[str, Curve], images: float, values: Any) -> None:
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        if _is_number(value):
            curve = curves.setdefault(key, Curve())
            curve.images.append(images)
            curve.values.append(value)


def _is_number(value: Any) -> bool:
    return is_finite(value) and not isinstance(value, bool)


def _read_scores(run: RunData, path: Path) -> None:
    command = f"zoo eval {shlex.quote(printable(run.folder))}"
    if not path.is_file():
        run.warnings.append(f"has no scores.json. To score it: {command}")
        return
    try:
        run.scores = read_scores(path)
    except UserError as error:
        run.warnings.append(f"has a scores.json that cannot be read ({error}). Anew: {command}")
        return
    scored = {score.images_seen for score in run.scores if score.images_seen is not None}
    if run.images_seen and scored and max(scored) < run.images_seen:
        run.warnings.append(
            f"was scored after {max(scored):,} images and has seen {run.images_seen:,} since. "
            f"Anew: {command}"
        )
