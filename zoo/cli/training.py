"""The command that trains."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.base import eval_module, fail
from zoo.registry import UserError


def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE [KEY=VALUE]...",
            help="name or file of a recipe, then settings such as method.weights.cycle=5",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for the run, new")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="continue this run; takes no recipe, only train.images=N")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the recipe and parameter counts, and stop")
    ] = False,
    plugin: Annotated[
        list[Path] | None, typer.Option(help="Python file that registers parts; repeatable")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="even where there is a GPU")] = False,
) -> None:
    """Train a recipe, or continue a run."""
    from zoo.recipe import load_recipe

    words = arguments or []
    names = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    if resume is not None:
        name = _resumed_recipe(resume, out, names, overrides)
    elif len(names) == 1:
        name = names[0]
    else:
        raise UserError(
            f"train takes one recipe, by name or file, got {' and '.join(names) or 'none'}; "
            f"`zoo list recipes` has the names"
        )
    recipe = load_recipe(name, overrides, plugin or ())

    if dry_run:
        from zoo.describe import describe

        typer.echo(describe(recipe))
        return
    folder = resume or out
    if folder is None:
        raise UserError("say where the run goes, for example --out runs/first")
    from zoo.divergence import TrainingDiverged
    from zoo.trainer import train as train_run

    try:
        train_run(
            recipe,
            folder,
            resume=resume is not None,
            evaluate=eval_module("training").make_evaluator(recipe),
            cpu=cpu,
            command=["zoo", *sys.argv[1:]],
        )
    except TrainingDiverged as error:
        fail(str(error), code=1)


def _resumed_recipe(run: Path, out: Path | None, names: list[str], overrides: list[str]) -> str:
    if names or out:
        raise UserError(
            f"--resume {run} goes on with the recipe and the folder of that run; "
            f"leave out {' '.join([*names, *(['--out'] if out else [])])}"
        )
    refused = [word for word in overrides if word.partition("=")[0] != "train.images"]
    if refused:
        raise UserError(
            f"--resume repeats the run's recipe, of which only train.images may change; "
            f"got {' '.join(refused)}"
        )
    if not (run / "recipe.yaml").is_file():
        raise UserError(f"{run} is not a run: it has no recipe.yaml")
    return str(run / "recipe.yaml")
