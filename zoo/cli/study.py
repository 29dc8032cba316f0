"""Commands of perceptual studies: the page that people answer, and what they answered."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from zoo.cli.base import Weights, eval_module

study = typer.Typer(
    no_args_is_help=True, help="Ask people: make the page of a study, score the answers."
)


@study.command()
def make(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders")],
    out: Annotated[Path, typer.Option(help="folder to make")],
    mode: Annotated[
        Literal["real-or-fake", "best"],
        typer.Option(help="which of two is real, one method a session; or the best of all methods"),
    ] = "real-or-fake",
    direction: Annotated[
        Literal["a2b", "b2a"], typer.Option(help="from which domain to which")
    ] = "a2b",
    trials: Annotated[int, typer.Option(min=1, help="of a session, that count")] = 40,
    practice: Annotated[
        int, typer.Option(min=0, help="trials before them, with the answer; none for best")
    ] = 10,
    trial_ms: Annotated[int, typer.Option(min=1, help="milliseconds that a pair is shown")] = 1000,
    num_images: Annotated[
        int, typer.Option(min=1, help="test images that sessions draw from, at most")
    ] = 100,
    seed: Annotated[int, typer.Option(help="of pairs, order and assignment")] = 0,
    weights: Annotated[Weights, typer.Option(help="auto: the average where there is one")] = "auto",
    checkpoint: Annotated[Literal["latest", "best"], typer.Option(help="which")] = "latest",
    question: Annotated[str | None, typer.Option(help="what is asked, if not as usual")] = None,
) -> None:
    """Make a page that asks people about translations; it works offline and sends nothing."""
    module = eval_module("study")
    page = module.make_study(
        runs,
        out,
        mode=mode,
        direction=direction,
        counted=trials,
        practice=practice,
        trial_ms=trial_ms,
        num_images=num_images,
        seed=seed,
        weights=weights,
        checkpoint=checkpoint,
        question=question,
    )
    key = module.read_key(out / "key.json")
    typer.echo(f"to hand out: {page.parent}")
    typer.echo(f"to keep, for the scores: {out / 'key.json'}")
    for method, name in key.methods.items():
        if key.mode == "real-or-fake":
            typer.echo(f"only {name}: {page.name}?method={method}")


@study.command()
def score(
    files: Annotated[list[Path], typer.Argument(metavar="CSV...", help="answers")],
    key: Annotated[Path, typer.Option(help="key.json of the study")] = Path("key.json"),
    seed: Annotated[int, typer.Option(help="of the bootstrap")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write too")] = None,
) -> None:
    """Score the answers: percent of fakes called real, or percent preferred, with intervals."""
    found = eval_module("study").score_study(files, key, seed=seed, out=out)
    console = Console(emoji=False, soft_wrap=True)
    fooled = found.mode == "real-or-fake"
    heading = "% of fakes called real" if fooled else "% preferred"
    table = Table(Column("method"), heading, "95 % interval", "±", "participants", "trials")
    for row in found.methods:
        table.add_row(escape(row.method), *_rate(row.rate), str(row.participants), str(row.trials))
    table.add_section()
    table.add_row("chance", f"{found.chance:.1f}", "", "", "", "")
    console.print(table)
    if found.pairs:
        pairs = Table(
            Column("method"), "against", "% for the first", "95 % interval", "±", "verdict"
        )
        for pair in found.pairs:
            verdict = "tie" if pair.tie else "differ"
            pairs.add_row(escape(pair.a), escape(pair.b), *_rate(pair.rate), verdict)
        console.print(pairs)
    for left in found.excluded:
        typer.echo(f"left out: {left.participant} ({left.file}): {left.reason}")


def _rate(rate: Any) -> tuple[str, str, str]:
    if rate is None:
        return "–", "", ""
    return f"{rate.percent:.1f}", f"{rate.low:.1f} to {rate.high:.1f}", f"{rate.spread:.1f}"
