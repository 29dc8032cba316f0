"""Sweeps: tables of runs, and the published tables that they stand beside.

A sweep is a YAML file whose fields are those of `SweepFile`. Its rows are methods or variants, its
columns tasks, each a translation from one domain to another; a run fills a column for each
direction that it translates in. Sweeps are found by name in the folders `sweeps` beside recipes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from zoo.recipe import RecipeError, load_recipe, parse_file, recipe_folders, to_dict
from zoo.registry import nearest
from zoo.schema import NOT_NEGATIVE, Recipe
from zoo.typed import Checker, Node

Number = float | tuple[float, float]  # a value, or a value and its spread

_DEBUG = (
    "train.images=48",
    "train.batch=2",
    "log.every_images=12",
    "samples.every_images=24",
    "samples.num_images=2",
    "checkpoint.every_images=24",
    "evaluate.every_images=0",
)
_DEBUG_DATA = "name: toonfaces, size: 64, load_size: 64, num_train: 16, num_test: 6, workers: 0"
_DEBUG_MOST = {  # fields of a method and the largest value that debugging needs
    "width": 8,
    "encoder_width": 8,
    "sampler_width": 16,
    "num_patches": 32,
    "search_steps": 2,
    "search_restarts": 1,
    "generator_warmup_images": 0,
    "discriminator_warmup_images": 0,
}
_DEBUG_INSTEAD = {"backbone": "random-vgg16"}  # needs no weights


class SweepError(RecipeError):
    """What is wrong with a sweep."""


@dataclass(kw_only=True)
class RowRun:
    """A recipe to train, and the columns that it fills."""

    recipe: Annotated[str, "name or path of a recipe"]
    overrides: Annotated[list[str], "as on the command line: method.weights.cycle=5"] = field(
        default_factory=list
    )
    a2b: Annotated[str | None, "the task that translating from a to b is"] = None
    b2a: Annotated[str | None, "the task that translating from b to a is"] = None

    @property
    def tasks(self) -> dict[str, str]:
        """Tasks by direction."""
        given = {"a2b": self.a2b, "b2a": self.b2a}
        return {direction: task for direction, task in given.items() if task is not None}


@dataclass(kw_only=True)
class Row:
    """One row of the table."""

    runs: Annotated[list[RowRun], "what to train; none: published numbers only"] = field(
        default_factory=list
    )


@dataclass(kw_only=True)
class Published:
    """One metric of a published table."""

    source: Annotated[str, "paper and table"]
    metric: Annotated[str, "name, that of our metric where there is one"]
    convention: Annotated[str, "what was computed on what, and what the spread is"]
    better: Annotated[Literal["lower", "higher"], "which values are better"]
    scale: Annotated[float, "printed value over ours: 100 for KID x 100"] = 1.0
    verified: Annotated[bool, "false: copied from memory or second hand, and printed so"] = True
    values: Annotated[
        dict[str, dict[str, Number]], "row: {task: value or [value, spread]}, as printed"
    ]


@dataclass(kw_only=True)
class Null:
    """A row once more with other seeds: the difference that chance alone makes."""

    row: Annotated[str, "label of a row with runs"]
    seeds: Annotated[list[Annotated[int, NOT_NEGATIVE]], "none of those that every row has"]


@dataclass(kw_only=True)
class Level:
    """A score to wait for; rows are compared in the time until they reach it in training."""

    metric: Annotated[str, "scored during training"]
    task: Annotated[str, "column"]
    value: Annotated[float, "as computed, not as printed: 0.02 for a KID x 100 of 2"]


@dataclass(kw_only=True)
class SweepFile:
    """Everything that a table is made from."""

    description: Annotated[str, "one line for people"]
    tasks: Annotated[list[str], "columns of the table"]
    seeds: Annotated[list[Annotated[int, NOT_NEGATIVE]], "each run is made with each"] = field(
        default_factory=lambda: [0]
    )
    metrics: Annotated[list[str], "scores to compute and to print"]
    rows: Annotated[dict[str, Row], "label: row"]
    published: Annotated[list[Published], "numbers to print beside ours"] = field(
        default_factory=list
    )
    null: Annotated[Null | None, "a row to compare with itself"] = None
    level: Annotated[Level | None, "a score whose time is compared"] = None


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        row: label of its row.
        tasks: columns that it fills, by direction.
        seed: of everything random.
        recipe_name: what `zoo train` is given,
        overrides: and these with it.
        recipe: both, checked.
        null: the run belongs to the second half of the null comparison, not to the table.
    """

    row: str
    tasks: Mapping[str, str]
    seed: int
    recipe_name: str
    overrides: tuple[str, ...]
    recipe: Recipe
    null: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """Row, tasks joined by "+", seed: no two runs of a sweep have the same."""
        return self.row, "+".join(self.tasks.values()), self.seed


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Attributes:
        name: "ugatit_table", or the stem of the file.
        file: where it was read.
        config: its fields.
    """

    name: str
    file: Path
    config: SweepFile

    def runs(self, debug: bool = False) -> list[SweepRun]:
        """Every run, rows first, then data, then seeds, those of the null comparison last.

        Args:
            debug: shrink each by `debug_overrides`, for tests and for a first try.

        Raises:
            RecipeError: a recipe has changed since the sweep was loaded, and is wrong now.
        """
        found: list[SweepRun] = []
        for label, row in self.config.rows.items():
            for run in row.runs:
                overrides = list(run.overrides)
                recipe = load_recipe(run.recipe, overrides)
                if debug:
                    overrides += debug_overrides(recipe)
                    recipe = load_recipe(run.recipe, overrides)
                null = self.config.null
                more = null.seeds if null and null.row == label else []
                found.extend(
                    SweepRun(
                        row=label,
                        tasks=run.tasks,
                        seed=seed,
                        recipe_name=run.recipe,
                        overrides=(*overrides, f"train.seed={seed}"),
                        recipe=replace(recipe, train=replace(recipe.train, seed=seed)),
                        null=seed in more,
                    )
                    for seed in (*self.config.seeds, *more)
                )
        return sorted(found, key=lambda run: run.null)


def debug_overrides(recipe: Recipe) -> list[str]:
    """Overrides that shrink a recipe to seconds: drawn faces at 64 pixels, narrow networks.

    Widths and the like become at most those of the debug recipes; depths stay, so that what refers
    to layers by number still holds. VGG features come from an untrained network.
    """
    paired = ", paired: true" if recipe.data.name == "paired" else ""
    smaller = _smaller(to_dict(recipe)["method"], "method")
    return [f"data={{{_DEBUG_DATA}{paired}}}", *_DEBUG, *smaller]


def _smaller(config: Any, path: str) -> Iterator[str]:
    for key, value in config.items():
        where = f"{path}.{key}"
        if isinstance(value, dict):
            yield from _smaller(value, where)
        elif key in _DEBUG_MOST and isinstance(value, int) and value > _DEBUG_MOST[key]:
            yield f"{where}={_DEBUG_MOST[key]}"
        elif key in _DEBUG_INSTEAD:
            yield f"{where}={_DEBUG_INSTEAD[key]}"


# Finding and reading.


def list_sweeps() -> list[str]:
    """Names of the sweeps."""
    return sorted(_files())


def sweep_description(name: str) -> str:
    """The `description` in a sweep's file, read without checking the sweep."""
    description = parse_file(find_sweep(name), []).value.get("description")
    return str(description.value) if description else ""


def _files() -> dict[str, Path]:
    files: dict[str, Path] = {}
    for folder in recipe_folders():
        for path in sorted((folder / "sweeps").glob("*.yaml")):
            files.setdefault(path.stem, path)
    return files


def find_sweep(name_or_path: str | Path) -> Path:
    """The file of a sweep.

    Raises:
        SweepError: there is none; the message has the nearest name.
    """
    path, files = Path(name_or_path), _files()
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    if str(name_or_path) not in files:
        raise SweepError(
            [
                f"there is no sweep {str(name_or_path)!r}.{nearest(str(name_or_path), files)} "
                f"Sweeps: {', '.join(sorted(files)) or 'none'}"
            ]
        )
    return files[str(name_or_path)]


def load_sweep(name_or_path: str | Path) -> Sweep:
    """The checked sweep; its recipes are checked too.

    Args:
        name_or_path: "ugatit_table", or the path of a YAML file.

    Raises:
        SweepError: with every problem that was found.
    """
    path, checker = find_sweep(name_or_path), Checker()
    try:
        tree = parse_file(path, checker.problems)
    except RecipeError as error:  # not YAML, or no mapping
        raise SweepError(error.problems) from error
    config = checker.config(SweepFile, tree, "")
    if not checker.problems:
        _check_labels(config, tree, checker)
        _check_runs(config, tree, checker)
        _check_extras(config, tree, checker)
        _check_published(config, tree, checker)
    if checker.problems:
        raise SweepError(checker.problems)
    return Sweep(path.stem, path, config)


def _check_labels(config: SweepFile, tree: Node, checker: Checker) -> None:
    """Lists have entries, each once; every row is a run's or published."""
    lists: dict[str, Sequence] = {
        "tasks": config.tasks,
        "seeds": config.seeds,
        "metrics": config.metrics,
        "rows": list(config.rows),
    }
    for key, values in lists.items():
        if not values:
            checker.problem(tree.value[key], key, "at least one is needed")
        for value in sorted({value for value in values if values.count(value) > 1}):
            checker.problem(tree.value[key], key, f"{value!r} is given twice")
    published = {row for table in config.published for row in table.values}
    for label, row in config.rows.items():
        if not row.runs and label not in published:
            node = tree.value["rows"].value[label]
            checker.problem(node, f"rows.{label}", "has neither runs nor published numbers")


def _check_runs(config: SweepFile, tree: Node, checker: Checker) -> None:
    """Recipes load, methods translate in the directions asked for, no cell is filled twice."""
    for label, row in config.rows.items():
        filled: dict[str, int] = {}
        for i, run in enumerate(row.runs):
            node = tree.value["rows"].value[label].value["runs"].value[i]
            where = f"rows.{label}.runs[{i}]"
            offered = _directions(run, node, where, checker)
            if not run.tasks:
                checker.problem(node, where, "fills no column; a2b or b2a says which task it does")
            for direction, task in run.tasks.items():
                place = node.value[direction]
                if _known_task(task, config, place, f"{where}.{direction}", checker):
                    if task in filled:
                        message = f"{task!r} is filled by runs[{filled[task]}] already"
                        checker.problem(place, f"{where}.{direction}", message)
                    filled[task] = i
                if offered and direction not in offered:
                    message = f"{run.recipe} translates {' and '.join(offered)} only"
                    checker.problem(place, f"{where}.{direction}", message)


def _directions(run: RowRun, node: Node, where: str, checker: Checker) -> Sequence[str]:
    """What a run's method translates; nothing when its recipe is wrong, which is noted."""
    try:
        method: Any = load_recipe(run.recipe, run.overrides).method.owner
    except RecipeError as error:
        for problem in error.problems:
            message = problem.removeprefix("command line: ")
            checker.problem(node.value["recipe"], f"{where}.recipe", message)
        return ()
    return method.directions


def _check_extras(config: SweepFile, tree: Node, checker: Checker) -> None:
    """The null comparison has a row and seeds of its own, the level a column."""
    null, level = config.null, config.level
    if null is not None:
        node = tree.value["null"].value
        if null.row not in config.rows or not config.rows[null.row].runs:
            with_runs = [label for label, row in config.rows.items() if row.runs]
            message = f"there is no row {null.row!r} with runs.{nearest(null.row, with_runs)}"
            checker.problem(node["row"], "null.row", message)
        used = [seed for i, seed in enumerate(null.seeds) if seed in config.seeds + null.seeds[:i]]
        for seed in used:
            checker.problem(node["seeds"], "null.seeds", f"{seed} is a seed already")
        if not null.seeds:
            checker.problem(node["seeds"], "null.seeds", "at least one is needed")
    if level is not None:
        place = tree.value["level"].value["task"]
        _known_task(level.task, config, place, "level.task", checker)


def _check_published(config: SweepFile, tree: Node, checker: Checker) -> None:
    """Numbers belong to rows and tasks that there are."""
    for i, table in enumerate(config.published):
        node = tree.value["published"].value[i].value["values"]
        where = f"published[{i}].values"
        if not any(table.values.values()):
            checker.problem(node, where, "has no numbers")
        for row, values in table.values.items():
            if row not in config.rows:
                message = f"there is no such row.{nearest(row, config.rows)}"
                checker.problem(node.value[row], f"{where}.{row}", message)
            for task in values:
                place = node.value[row].value[task]
                _known_task(task, config, place, f"{where}.{row}.{task}", checker)


def _known_task(task: str, config: SweepFile, node: Node, path: str, checker: Checker) -> bool:
    if task in config.tasks:
        return True
    near = nearest(task, config.tasks)
    message = f"there is no task {task!r}.{near} Tasks: {', '.join(config.tasks)}"
    checker.problem(node, path, message)
    return False
