"""Commands of the FCN-score."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from zoo.cli.base import Run, Weights, eval_module

app = typer.Typer(
    no_args_is_help=True, help="Score translations between photos and label maps (FCN-score)."
)


@app.command()
def train(
    data: Annotated[
        str, typer.Argument(help="recipe or run with masks, Cityscapes' folder, or YAML of masks")
    ],
    out: Annotated[Path, typer.Option(help="folder to make")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="such as model=torchvision training.steps=9"),
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="even where there is a GPU")] = False,
) -> None:
    """Train a segmenter of real photos, and a control that must stay at chance."""
    manifest = eval_module("fcn_score.segmenter").train_segmenter(data, out, settings or (), cpu)
    typer.echo(f"{out}: {manifest['recipe']['model']['name']}, sha256 {manifest['sha256'][:16]}")
    _print_rows(manifest["rows"])
    for fault in manifest["faults"]:
        typer.echo(f"it may not score: {fault}", err=True)
    if manifest["faults"]:
        raise typer.Exit(1)


@app.command()
def score(
    run: Run,
    segmenter: Annotated[
        Path | None, typer.Option(help="folder of `zoo fcn train`; reads photos of label maps")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="scenes to score, as for `zoo fcn train`; the run's if none")
    ] = None,
    labels: Annotated[
        Literal["a", "b"] | None, typer.Option(help="the domain of label maps; found unless given")
    ] = None,
    num_images: Annotated[int, typer.Option(min=0, help="scenes; 0: all")] = 0,
    weights: Annotated[Weights, typer.Option(help="auto: the average where there is one")] = "auto",
    checkpoint: Annotated[Literal["latest", "best"], typer.Option(help="which")] = "latest",
    seed: Annotated[int, typer.Option(help="of intervals and of random translations")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="folder for fcn_score.json; RUN unless given")
    ] = None,
    classes: Annotated[bool, typer.Option(help="print the table of classes too")] = False,
) -> None:
    """Score a run's photos and label maps; writes fcn_score.json."""
    running = eval_module("fcn_score.running")
    request = running.Request(
        run=run,
        segmenter=segmenter,
        data=data,
        labels=labels,
        num_images=num_images,
        weights=weights,
        checkpoint=checkpoint,
        seed=seed,
    )
    content = running.fcn_score(request, out)
    for direction, found in content["directions"].items():
        height, width = found["label_size"]
        typer.echo(
            f"\n{direction}, {found['task']}: {found['images']} scenes ({found['data']}), labels "
            f"{width} x {height}"
        )
        _print_segmenter(found["segmenter"])
        _print_rows(found["rows"])
        if classes:
            _print_classes(found["rows"])
        typer.echo(found["note"])


def _print_segmenter(found: dict[str, Any] | None) -> None:
    if found is not None:
        typer.echo(
            f"segmenter {found['sha256'][:16]} ({found['model']['name']}), trained on "
            f"{found['data']['train_photos']} photos at {found['side']} pixels scaled up; on its "
            f"own test photos: mean IoU {found['real']['mean_iou']['value']:.3f}"
        )


def _print_rows(rows: list[dict[str, Any]]) -> None:
    """Scores, in brackets their share of the real photos', below their 95 % intervals."""
    from zoo.tables import print_table

    names = {"pixel_accuracy": "pixel acc.", "class_accuracy": "class acc.", "mean_iou": "mean IoU"}
    columns = ["row", *(f"{name} (/ real)" for name in names.values())]
    print_table(columns, [[row["row"], *(_cell(row[name]) for name in names)] for row in rows])


def _cell(score: dict[str, float | None]) -> str:
    if score["value"] is None:
        return "none"
    share = "" if score["of_real"] is None else f" ({score['of_real']:.2f})"
    between = "" if score["low"] is None else f"\n{score['low']:.3f}–{score['high']:.3f}"
    return f"{score['value']:.3f}{share}{between}"


def _print_classes(rows: list[dict[str, Any]]) -> None:
    """IoU of each class in the first three rows: real, the run, untranslated."""
    from zoo.tables import print_table

    shown = rows[:3]
    body = []
    for name in shown[0]["class_ious"]:
        values = [row["class_ious"][name] for row in shown]
        body.append([name, *("" if value is None else f"{value:.3f}" for value in values)])
    print_table(["IoU of", *(row["row"] for row in shown)], body)
