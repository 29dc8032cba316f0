"""The fields of an adaptation recipe, and how it is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from eval.adaptation.finding import AdaptationError, find_adaptation
from eval.tasks.data import TASK_DATA, TASK_MODELS
from eval.tasks.train import TaskTraining
from zoo.recipe import RecipeError, parse_file, parse_override
from zoo.registry import Part, Registry, UserError, nearest
from zoo.schema import NOT_NEGATIVE, Bounds
from zoo.typed import Checker, Node, merge, to_plain

Arm = Literal[
    "oracle",
    "source",
    "translated",
    "source+translated",
    "histogram_match",
    "reinhard",
    "fda",
    "grayscale",
]
ARMS: tuple[Arm, ...] = Arm.__args__  # type: ignore[attr-defined]
SCORES = {
    "classification": ("accuracy", "balanced_accuracy", "ece"),
    "segmentation": ("pixel_accuracy", "class_accuracy", "mean_iou"),
}
_ALL_SCORES = sorted({name for names in SCORES.values() for name in names})


def _slot(registry: Registry, default: str) -> dict[str, Any]:
    """Metadata of a field for a part that must be given; without a name it is `default`."""
    return {"registry": registry, "default": default, "needs": frozenset(), "reads": "image"}


@dataclass(kw_only=True)
class Translator:
    """Where the translated images come from: a run, or a folder of finished ones."""

    run: Annotated[str, "run folder, or the name of a shipped run"] = ""
    direction: Annotated[Literal["a2b", "b2a"], "of the run, from the source to the target"] = "a2b"
    weights: Annotated[Literal["auto", "raw", "ema"], "auto: the average where there is one"] = (
        "auto"
    )
    checkpoint: Annotated[Literal["latest", "best"], "of the run"] = "latest"
    size: Annotated[
        Literal["resize", "native"] | tuple[int, int],
        "what the network is given: squares of the run's size, the images' own, or "
        "[height, width]; results go back to the images' size",
    ] = "resize"
    seed: Annotated[int, "of methods that translate at random", NOT_NEGATIVE] = 0
    folder: Annotated[
        str, "images translated elsewhere, with the source's sub-folders and names"
    ] = ""

    def __post_init__(self):
        if bool(self.run) == bool(self.folder):
            raise UserError(
                "needs either run or folder; on the command line translator.run=runs/mine"
            )


@dataclass(kw_only=True)
class PublishedScores:
    """A table of the literature, to print beside ours."""

    source: Annotated[str, "paper and table"]
    convention: Annotated[str, "what was trained and tested on what"]
    scale: Annotated[float, "printed value over ours: 100 for percent"] = 100.0
    verified: Annotated[bool, "false: copied from memory or second hand, and printed so"] = True
    values: Annotated[dict[str, dict[str, float]], "row: {score: value as printed}"]


@dataclass(kw_only=True)
class Adaptation:
    """Everything that `zoo adapt` does."""

    description: Annotated[str, "one line for people"] = ""
    source: Annotated[Part, "labelled images to learn from"] = field(
        metadata=_slot(TASK_DATA, "class_folders")
    )
    target_train: Annotated[
        Part, "images of the target; labels, where it has them, serve the oracle only"
    ] = field(metadata=_slot(TASK_DATA, "images"))
    target_test: Annotated[Part, "labelled images of the target to test on"] = field(
        metadata=_slot(TASK_DATA, "class_folders")
    )
    translator: Annotated[Translator | None, "null: none of the arms is of translated images"] = (
        None
    )
    model: Annotated[Part, "the task's network"] = field(metadata=_slot(TASK_MODELS, "small_cnn"))
    training: TaskTraining = field(default_factory=TaskTraining)
    arms: Annotated[list[Arm], "what to train on; each is a row"] = field(
        default_factory=lambda: list(ARMS)
    )
    seeds: Annotated[list[Annotated[int, NOT_NEGATIVE]], "each arm is trained with each"] = field(
        default_factory=lambda: [0, 1, 2]
    )
    validation: Annotated[
        float,
        "share of the source, or for the oracle of target_train, that chooses the step",
        Bounds(least=0.01, most=0.9),
    ] = 0.1
    extractor: Annotated[str, "features of FID and KID between translated and target"] = "offline"
    published: Annotated[list[PublishedScores], "numbers to print beside ours"] = field(
        default_factory=list
    )


def load_adaptation(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Adaptation:
    """The checked recipe.

    Args:
        name_or_path: "digits", or the path of a YAML file.
        overrides: "translator.run=runs/mine", values as in YAML; later ones win.

    Raises:
        AdaptationError: with every problem that was found.
    """
    checker = Checker()
    try:
        tree = parse_file(find_adaptation(name_or_path), checker.problems)
        for override in overrides:
            node = parse_override(override, checker.problems)
            tree = merge(tree, node) if node else tree
    except RecipeError as error:  # not YAML, or no mapping
        raise AdaptationError([*checker.problems, *error.problems]) from error
    recipe = checker.config(Adaptation, tree, "")
    if not checker.problems:
        _check_lists(recipe, tree, checker)
        _check_published(recipe, tree, checker)
    if checker.problems:
        raise AdaptationError(checker.problems)
    return recipe


def _check_lists(recipe: Adaptation, tree: Node, checker: Checker) -> None:
    lists: dict[str, Sequence] = {"arms": recipe.arms, "seeds": recipe.seeds}
    for key, values in lists.items():
        node = tree.value.get(key, tree)
        if not values:
            checker.problem(node, key, "at least one is needed")
        for value in sorted({value for value in values if values.count(value) > 1}):
            checker.problem(node, key, f"{value!r} is given twice")
    of_translated = [arm for arm in recipe.arms if "translated" in arm]
    if of_translated and recipe.translator is None:
        message = f"{' and '.join(of_translated)} need a translator: translator.run=runs/mine"
        checker.problem(tree.value.get("arms", tree), "arms", message)


def _check_published(recipe: Adaptation, tree: Node, checker: Checker) -> None:
    for i, table in enumerate(recipe.published):
        node = tree.value["published"].value[i].value["values"]
        for row, values in table.values.items():
            for name in values:
                if name not in _ALL_SCORES:
                    where = f"published[{i}].values.{row}.{name}"
                    message = f"is no score.{nearest(name, _ALL_SCORES)} Scores: "
                    checker.problem(
                        node.value[row].value[name], where, message + ", ".join(_ALL_SCORES)
                    )


def dump_adaptation(recipe: Adaptation) -> str:
    """The complete recipe as YAML, which `load_adaptation` takes back."""
    return yaml.safe_dump(plain(recipe), sort_keys=False, allow_unicode=True, width=100)


def plain(recipe: Adaptation) -> dict[str, Any]:
    """The complete recipe as dicts, lists and scalars, which `load_adaptation` takes back."""
    return {item.name: to_plain(getattr(recipe, item.name)) for item in fields(recipe)}
