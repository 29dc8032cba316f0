"""Commands that tell what there is."""

import json
import sys
from importlib import metadata
from typing import Annotated

import typer

from zoo.cli.base import AsJson, eval_module, show_rows
from zoo.registry import REGISTRIES, UserError, nearest

_KINDS = (*REGISTRIES, "recipes", "sweeps", "adaptations")


def list_parts(
    kind: Annotated[str | None, typer.Argument(help=", ".join(_KINDS))] = None,
    as_json: AsJson = False,
) -> None:
    """List what there is; of one kind of parts, --json has all that `zoo show` tells."""
    if kind is None:
        names = {kind: _names(kind) for kind in _KINDS}
        rows = [(kind, ", ".join(found)) for kind, found in names.items()]
        return show_rows(names, ("kind", "names"), rows, as_json)
    kind = _kind(kind)
    rows = list(_summaries(kind).items())
    objects: list[dict] = [{"name": name, "summary": summary} for name, summary in rows]
    if as_json and kind in REGISTRIES:
        from zoo.create import describe_parts

        objects = [a | b for a, b in zip(objects, describe_parts(kind), strict=True)]
    return show_rows(objects, ("name", "summary"), rows, as_json)


def show(
    kind: Annotated[str, typer.Argument(help=", ".join(_KINDS))],
    name: Annotated[str, typer.Argument(help="as `zoo list` prints it")],
    as_json: AsJson = False,
) -> None:
    """Show one part's fields, one recipe in full, or one sweep with its published numbers."""
    kind = _kind(kind)
    if kind == "sweeps":
        from zoo.tables import print_sweep

        print_sweep(name, as_json)
        return
    if kind == "adaptations":
        recipes = eval_module("adaptation.recipe")
        recipe = recipes.load_adaptation(name)
        typer.echo(
            json.dumps(recipes.plain(recipe), indent=2)
            if as_json
            else recipes.dump_adaptation(recipe)
        )
        return
    if kind == "recipes":
        from zoo.recipe import dump_recipe, load_recipe, to_dict

        recipe = load_recipe(name)
        typer.echo(json.dumps(to_dict(recipe), indent=2) if as_json else dump_recipe(recipe))
        return
    from zoo.create import describe_part

    part = describe_part(kind, name)
    if as_json:
        typer.echo(json.dumps(part, indent=2))
        return
    typer.echo(f"{part['kind']} {name}: {part['doc']}\n\n{part['origin']}\n")
    rows = [
        (field["name"], field["type"], json.dumps(field["default"]), field["help"])
        for field in part["fields"]
    ]
    show_rows(part["fields"], ("field", "type", "default", "help"), rows, as_json)
    typer.echo(f"paper: {part['paper'] or 'none named'}")
    for key in ("offers", "recipes"):
        typer.echo(f"{key}: {', '.join(part[key]) or 'none'}")
    typer.echo(f"file: {part['file']}")


def version() -> None:
    """Print the versions of Zoo, Python and torch."""
    import zoo

    python = ".".join(map(str, sys.version_info[:3]))
    typer.echo(f"zoo {zoo.__version__}, python {python}, torch {metadata.version('torch')}")


def _kind(word: str) -> str:
    """The key of `_KINDS` that a word means, plural or singular."""
    singular = {"loss": "losses", **{kind.removesuffix("s"): kind for kind in _KINDS}}
    kind = singular.get(word, word)
    if kind not in _KINDS:
        raise UserError(
            f"there is no kind {word!r}.{nearest(word, _KINDS)} Kinds: {', '.join(_KINDS)}"
        )
    return kind


def _names(kind: str) -> list[str]:
    if kind == "recipes":
        from zoo.recipe import list_recipes

        return list_recipes()
    if kind == "sweeps":
        from zoo.sweep import list_sweeps

        return list_sweeps()
    if kind == "adaptations":
        return eval_module("adaptation.finding").list_adaptations()
    return list(REGISTRIES[kind].summaries())


def _summaries(kind: str) -> dict[str, str]:
    if kind == "recipes":
        from zoo.recipe import recipe_description

        return {name: recipe_description(name) for name in _names(kind)}
    if kind == "sweeps":
        from zoo.sweep import sweep_description

        return {name: sweep_description(name) for name in _names(kind)}
    if kind == "adaptations":
        describe = eval_module("adaptation.finding").adaptation_description
        return {name: describe(name) for name in _names(kind)}
    return REGISTRIES[kind].summaries()
