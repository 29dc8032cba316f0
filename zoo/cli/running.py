"""Commands on trained runs and on images."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from zoo.cli.base import Run, Weights, eval_module, show_rows


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
    batch: Annotated[
        int, typer.Option(min=0, help="images of one size at a time; 0: by their size")
    ] = 0,
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="bf16: where the processor has it, faster")
    ] = "fp32",
) -> None:
    """Translate an image or a folder with a trained run."""
    from zoo.translation import load_run

    translator = load_run(run, weights=weights, precision=precision)
    summary = translator.translate_path(source, target, direction, size=size, batch=batch)
    typer.echo(f"{target}: {len(summary.written)} written, {len(summary.skipped)} left out")


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
        show_rows([], ("MiB", "last used", "images"), rows, as_json=False)
    typer.echo(f"{folder}: {sum(entry.nbytes for entry in kept) / 2**30:.2f} GiB")


def evaluate(
    run: Run,
    extractor: Annotated[str | None, typer.Option(help="the recipe's unless given")] = None,
    num_images: Annotated[
        int | None, typer.Option(min=0, help="test images; 0: all; the recipe's unless given")
    ] = None,
    weights: Annotated[Weights, typer.Option(help="auto: the average where there is one")] = "auto",
    seed: Annotated[int, typer.Option(help="of the subsets of KID and of the intervals")] = 0,
    reference: Annotated[
        Literal["auto", "test", "train"],
        typer.Option(help="images to compare with; auto: test, if there are at least 100"),
    ] = "auto",
    checkpoint: Annotated[
        Literal["auto", "latest", "best", "both"],
        typer.Option(help="which; auto: both, if there is a best one that is not the latest"),
    ] = "auto",
    metrics: Annotated[
        str | None,
        typer.Option(help="of `zoo list metrics`, such as fid,kid,auto; the recipe's unless given"),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="use feature weights whose hash is not known")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="folder for scores.json and images; RUN unless given")
    ] = None,
) -> None:
    """Score a run on its test images; writes scores.json."""
    evaluate_run = eval_module("runner").evaluate_run
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
        metrics=ours.metrics if metrics is None else [m.strip() for m in metrics.split(",")],
        settings=ours.settings,
        trust=trust,
        out=out,
    )
    _print_scores(scores["records"])


def _print_scores(records: list[dict]) -> None:
    whole = [Column(name, no_wrap=True) for name in ("metric", "value", "95 %")]
    table = Table(whole[0], "direction", "images", *whole[1:])
    notes = {}  # without repetition, in order
    for record in records:
        value = "none" if record["value"] is None else f"{record['value']:.5g}"
        low, high = record["low"], record["high"]
        interval = "" if low is None else f"{low:.4g} to {high:.4g}"
        images = record["translator"]
        if record["checkpoint"] == "best":
            images += f", best of {record['looks']}" if record["looks"] else ", best"
        row = (record["metric"], record["direction"], images, value, interval)
        table.add_row(*map(escape, row))
        if record["value"] is None:
            notes[f"{record['metric']}: none, as {record['unavailable']}"] = True
        if record["extractor"] is not None:
            comparable = "" if record["comparable"] else ", not comparable with published numbers"
            notes[f"features: {record['extractor']}{comparable}"] = True
    Console(emoji=False).print(table)
    for note in notes:
        typer.echo(note)


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


def pack(
    run: Run,
    out: Annotated[Path, typer.Option(help="folder to make")],
    checkpoint: Annotated[Literal["latest", "best"], typer.Option(help="which")] = "latest",
) -> None:
    """Write a run's translating networks at half precision, to share them."""
    from zoo.packing import pack as pack_run

    file = pack_run(run, out, checkpoint=checkpoint)
    typer.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders")],
    out: Annotated[Path, typer.Option(help="the HTML file")],
    trivial: Annotated[
        bool, typer.Option(help="rows of trivial translators, fitted once: minutes")
    ] = True,
) -> None:
    """Write one HTML file about one or several runs."""
    typer.echo(eval_module("report").write_report(runs, out, trivial=trivial))
