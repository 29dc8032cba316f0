"""The command that measures what translated images are worth for a task."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from zoo.cli.base import eval_module
from zoo.registry import UserError


def adapt(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE [KEY=VALUE]...",
            help="name or file of an adaptation recipe, then settings: translator.run=runs/x",
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder of the results; one that is there is gone on")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the complete recipe, and stop")
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="even where there is a GPU")] = False,
) -> None:
    """Train on translated images and test on real ones, beside an oracle and controls."""
    names = [word for word in arguments if "=" not in word]
    overrides = [word for word in arguments if "=" in word]
    if len(names) != 1:
        raise UserError(
            f"adapt takes one recipe, by name or file, got {' and '.join(names) or 'none'}; "
            f"`zoo list adaptations` has the names"
        )
    recipes = eval_module("adaptation.recipe")
    recipe = recipes.load_adaptation(names[0], overrides)
    if dry_run:
        typer.echo(recipes.dump_adaptation(recipe))
        return
    content = eval_module("adaptation.runner").adapt(
        recipe, out, name=Path(names[0]).stem, command=["zoo", *sys.argv[1:]], cpu=cpu
    )
    _print(content)
    typer.echo(f"{out / 'adaptation.md'} has these tables, adaptation.json all numbers")


def _print(content: dict) -> None:
    show = eval_module("adaptation.show")
    from zoo.tables import print_table

    print_table(*show.score_table(content, brief=True))
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    for note in show.notes(content):
        console.print(escape(note))
    print_table(*show.style_table(content, brief=True))
    for table in content["published"]:
        doubt = "" if table["verified"] else ", not verified"
        console.print(escape(f"published: {table['source']}{doubt}; {table['convention']}"))
        print_table(*show.published_table(table))
