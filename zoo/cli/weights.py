"""Commands on files of weights that Zoo uses but does not ship."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from zoo.cli.base import AsJson, show_rows
from zoo.downloads import (
    FOLDER_VARIABLE,
    WEIGHTS,
    Weights,
    named,
    sha256_of,
    weights_folder,
)
from zoo.registry import UserError

app = typer.Typer(
    no_args_is_help=True,
    help="Files of weights that Zoo uses but does not ship: list, fetch, find them.",
)
Folder = Annotated[
    Path | None, typer.Option("--to", help=f"folder; {FOLDER_VARIABLE} or ~/.cache/zoo/weights")
]


@app.command("list")
def list_weights(
    missing: Annotated[bool, typer.Option("--missing", help="only what is not there")] = False,
    urls: Annotated[
        bool, typer.Option("--urls", help="print a line for curl on each, to fetch them elsewhere")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="compare hashes, which reads every file")
    ] = False,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """List the files, whether they are there, and what they are for."""
    folder = weights_folder() if folder is None else folder
    every = [(weights, _state(weights, folder, check)) for weights in WEIGHTS.values()]
    shown = [(w, state) for w, state in every if not (missing and state in _THERE)]
    if urls:
        for weights, _ in shown:
            typer.echo(f"curl -fL -C - -o {shlex.quote(weights.file)} {shlex.quote(weights.url)}")
        return
    facts = [asdict(w) | {"state": state, "path": str(folder / w.file)} for w, state in shown]
    rows = [
        (w.name, state, f"{w.size / 1e6:.0f}" if w.size else "", w.purpose) for w, state in shown
    ]
    show_rows(facts, ("name", "state", "MB", "for"), rows, as_json)
    if not as_json:
        there = sum(state in _THERE for _, state in every)
        typer.echo(f"{folder}: {there} of {len(every)} are there")


@app.command("get")
def get(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="of the list, all, or timm/NETWORK.TAG")
    ],
    folder: Folder = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="take files whose hash nobody publishes")
    ] = False,
) -> None:
    """Fetch files from where they are published; continues what was interrupted, checks hashes."""
    wanted = [named(name) for name in names if name != "all"]
    wanted += [weights for weights in WEIGHTS.values() if "all" in names and weights not in wanted]
    failed = []
    for weights in wanted:
        try:
            typer.echo(_get(weights, folder, trust))
        except UserError as error:  # the others are fetched all the same
            failed.append(str(error))
    if failed:
        raise UserError("\n\n".join(failed))


@app.command("where")
def where(
    name: Annotated[str | None, typer.Argument(help="of a file; none: the folder")] = None,
    folder: Folder = None,
) -> None:
    """Print where a file lies or belongs."""
    folder = weights_folder() if folder is None else folder
    typer.echo(folder if name is None else folder / named(name).file)


def _get(weights: Weights, folder: Path | None, trust: bool) -> str:
    """Fetch one file, with a bar; what to say of it."""
    from zoo.fetching import fetch

    with _bars() as bars:
        bar = bars.add_task(weights.file, total=weights.size)

        def show(done: int, total: int | None) -> None:
            bars.update(bar, completed=done, total=total)

        got = fetch(weights, folder, trust=trust, progress=show)
    by = f"as stated by {got.checked_by}" if got.checked_by else "which nobody states"
    return f"{got.path}: {'fetched' if got.fetched else 'was there'}, SHA-256 {got.sha256}, {by}"


_THERE = ("there", "checked")


def _state(weights: Weights, folder: Path, check: bool) -> str:
    path = folder / weights.file
    if not path.is_file():
        part = path.with_name(f"{path.name}.part")
        return f"{part.stat().st_size} bytes of it" if part.is_file() else "missing"
    if weights.size not in (None, path.stat().st_size):
        return "wrong size"
    if not check or weights.sha256 is None:
        return "there"
    return "checked" if sha256_of(path).startswith(weights.sha256) else "wrong hash"


def _bars() -> Progress:
    """Progress on stderr, gone when done; nothing where that is no terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}"),
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
