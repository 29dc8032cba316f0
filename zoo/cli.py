"""The command line. Commands import what they need when they run, so that `--help` is quick."""

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Column, Table

from zoo.registry import REGISTRIES, Registry, UserError, nearest

Weights = Literal["auto", "raw", "ema"]
Run = Annotated[Path, typer.Argument(help="run folder, or the name of a shipped run")]
AsJson = Annotated[bool, typer.Option("--json", help="plain JSON instead of a table")]

_KINDS = (*REGISTRIES, "recipes", "sweeps")


class _Group(typer.core.TyperGroup):
    """Prints a user's mistake without a traceback and exits with code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            _fail(str(error))
        except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
            _fail(f"{error.filename}: {error.strerror}")


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Unpaired image translation, from the recipe to the report.",
)


def main() -> None:
    """Run the command line on `sys.argv`."""
    app(prog_name="zoo")


def _fail(message: str, code: int = 2) -> NoReturn:
    console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
    console.print(f"[bold red]error:[/] {escape(message)}")
    raise typer.Exit(code)


@app.callback()
def _configure_logging() -> None:
    handler = RichHandler(
        console=Console(stderr=True), show_path=False, show_time=False, omit_repeated_times=False
    )
    first = os.environ.get("RANK", "0") == "0"
    for name in ("zoo", "eval"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO if first else logging.ERROR)


@app.command()
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
        from zoo.runs import describe

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
            evaluate=_eval("runner").make_evaluator(recipe),
            cpu=cpu,
            command=["zoo", *sys.argv[1:]],
        )
    except TrainingDiverged as error:
        _fail(str(error), code=1)


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


@app.command()
def translate(
    run: Run,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="image, or folder of images")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="image, or folder")],
    direction: Annotated[
        Literal["a2b", "b2a"], typer.Option(help="from which domain to which")
    ] = "a2b",
    weights: Annotated[Weights, typer.Option(help="auto: the average where there is one")] = "auto",
    size: Annotated[
        Literal["native", "resize"], typer.Option(help="the images', or that of training")
    ] = "resize",
    batch: Annotated[int, typer.Option(min=1, help="images at a time")] = 1,
) -> None:
    """Translate an image or a folder with a trained run."""
    from zoo.translation import load_run

    translator = load_run(run, weights=weights)
    summary = translator.translate_path(source, target, direction, size=size, batch=batch)
    typer.echo(f"{target}: {len(summary.written)} written, {len(summary.skipped)} left out")


@app.command()
def data(
    recipe: Annotated[str, typer.Argument(help="name or file of a recipe")],
    out: Annotated[Path, typer.Option(help="folder to make")],
    num_images: Annotated[int, typer.Option(min=0, help="images per folder; 0: all")] = 0,
) -> None:
    """Write a recipe's images to folders, to look at them or to use them elsewhere."""
    from zoo.data.write import write_folders
    from zoo.recipe import load_recipe

    part = load_recipe(recipe).data
    counts = write_folders(part.build(), part.config.size, out, num_images)
    typer.echo(f"{out}: " + ", ".join(f"{count} in {name}" for name, count in counts.items()))


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="delete what no run is using")] = False,
    folder: Annotated[Path | None, typer.Option(help="data.cache.folder, if not auto")] = None,
) -> None:
    """Show what decoded images are kept on disk, least recently used first, or clear them."""
    from zoo.data.cache import cache_folder, delete, entries

    folder = cache_folder() if folder is None else folder
    kept = [entry for entry in entries(folder) if not (clear and delete(entry.path))]
    rows = [(f"{entry.nbytes / 2**20:.1f}", entry.last_day, entry.what) for entry in kept]
    if rows:
        _show_rows([], ("MiB", "last used", "images"), rows, as_json=False)
    typer.echo(f"{folder}: {sum(entry.nbytes for entry in kept) / 2**30:.2f} GiB")


@app.command("eval")
def evaluate(
    run: Run,
    extractor: Annotated[str | None, typer.Option(help="the recipe's unless given")] = None,
    num_images: Annotated[
        int | None, typer.Option(min=0, help="test images; 0: all; the recipe's unless given")
    ] = None,
    weights: Annotated[Weights, typer.Option(help="auto: the average where there is one")] = "auto",
    seed: Annotated[int, typer.Option(help="of the subsets of KID")] = 0,
    reference: Annotated[
        Literal["auto", "test", "train"],
        typer.Option(help="images to compare with; auto: test, if there are at least 100"),
    ] = "auto",
    checkpoint: Annotated[Literal["latest", "best"], typer.Option(help="which")] = "latest",
    trust: Annotated[
        bool, typer.Option("--trust", help="use feature weights whose hash is not known")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="folder for scores.json and images; RUN unless given")
    ] = None,
) -> None:
    """Score a run on its test images; writes scores.json."""
    evaluate_run = _eval("runner").evaluate_run
    from zoo.recipe import load_recipe
    from zoo.translation import find_run

    ours = load_recipe(find_run(run) / "recipe.yaml").evaluate
    scores = evaluate_run(
        run,
        extractor=ours.extractor if extractor is None else extractor,
        num_images=ours.num_images if num_images is None else num_images,
        weights=weights,
        seed=seed,
        checkpoint=checkpoint,
        reference=reference,
        trust=trust,
        out=out,
    )
    _print_scores(scores["records"])


def _print_scores(records: list[dict]) -> None:
    columns = ("direction", "images", "value", "extractor")
    table = Table(Column("metric", no_wrap=True), *columns)
    notes = {}  # without repetition, in order
    for record in records:
        value = "none" if record["value"] is None else f"{record['value']:.5g}"
        value += "" if record["std"] is None else f" ± {record['std']:.2g}"
        extractor = record["extractor"] or ""
        row = (record["metric"], record["direction"], record["translator"], value, extractor)
        table.add_row(*map(escape, row))
        if record["value"] is None:
            notes[f"{record['metric']}: none, as {record['unavailable']}"] = True
        if record["comparable"] is False:
            notes[f"{extractor}: not comparable with published numbers"] = True
    Console(emoji=False).print(table)
    for note in notes:
        typer.echo(note)


@app.command("import")
def import_run(
    file: Annotated[Path, typer.Argument(help="published checkpoint; that of A to B")],
    kind: Annotated[str, typer.Option("--as", help="resnet_9, unet_256, ugatit, cut and others")],
    out: Annotated[Path, typer.Option(help="folder to make")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="such as data.root=faces")
    ] = None,
    other: Annotated[Path | None, typer.Option(help="checkpoint of B to A")] = None,
    size: Annotated[int | None, typer.Option(min=16, help="side of images, pixels")] = None,
) -> None:
    """Make a run folder from a published checkpoint."""
    from zoo.convert.importing import import_checkpoint

    imported = import_checkpoint(
        file, kind, out, other=other, size=size, settings=settings or (), command=sys.argv
    )
    typer.echo(imported)


@app.command()
def pack(
    run: Run,
    out: Annotated[Path, typer.Option(help="folder to make")],
    checkpoint: Annotated[Literal["latest", "best"], typer.Option(help="which")] = "latest",
) -> None:
    """Write a run's translating networks at half precision, to share them."""
    from zoo.packing import pack as pack_run

    file = pack_run(run, out, checkpoint=checkpoint)
    typer.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders")],
    out: Annotated[Path, typer.Option(help="the HTML file")],
    trivial: Annotated[
        bool, typer.Option(help="rows of trivial translators, fitted once: minutes")
    ] = True,
) -> None:
    """Write one HTML file about one or several runs."""
    typer.echo(_eval("report").write_report(runs, out, trivial=trivial))


def _eval(module: str) -> ModuleType:
    """A module of Zoo's package `eval`, unless another `eval` is found before it."""
    spec = importlib.util.find_spec("eval")
    ours = Path(__file__).resolve().parent.parent / "eval" / "__init__.py"
    origin = spec.origin if spec else None
    if origin is None or Path(origin).resolve() != ours:
        raise UserError(
            f"scores and reports need Zoo's package eval, {ours.parent}, but Python finds "
            f"{origin or 'none'} first; rename that or start from another folder"
        )
    return importlib.import_module(f"eval.{module}")


@app.command("list")
def list_parts(
    kind: Annotated[str | None, typer.Argument(help=", ".join(_KINDS))] = None,
    as_json: AsJson = False,
) -> None:
    """List parts, recipes or sweeps; of one kind of parts, --json has all that `zoo show` tells."""
    if kind is None:
        names = {kind: _names(kind) for kind in _KINDS}
        rows = [(kind, ", ".join(found)) for kind, found in names.items()]
        return _show_rows(names, ("kind", "names"), rows, as_json)
    kind = _kind(kind)
    rows = [(name, _summary(kind, name)) for name in _names(kind)]
    objects: list[dict] = [{"name": name, "summary": summary} for name, summary in rows]
    if as_json and kind != "recipes":
        from zoo.create import describe_parts

        objects = [a | b for a, b in zip(objects, describe_parts(kind), strict=True)]
    return _show_rows(objects, ("name", "summary"), rows, as_json)


@app.command()
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
    _show_rows(part["fields"], ("field", "type", "default", "help"), rows, as_json)
    typer.echo(f"paper: {part['paper'] or 'none named'}")
    for key in ("offers", "recipes"):
        typer.echo(f"{key}: {', '.join(part[key]) or 'none'}")
    typer.echo(f"file: {part['file']}")


@app.command()
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
    return REGISTRIES[kind].names()


def _summary(kind: str, name: str) -> str:
    if kind == "recipes":
        from zoo.recipe import recipe_description

        return recipe_description(name)
    if kind == "sweeps":
        from zoo.sweep import sweep_description

        return sweep_description(name)
    registry: Registry = REGISTRIES[kind]
    return (registry[name].__doc__ or "").strip().partition("\n")[0]


def _show_rows(objects: Any, columns: Sequence, rows: Sequence, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(objects, indent=2))
        return
    from zoo.tables import print_table

    print_table(columns, rows)
