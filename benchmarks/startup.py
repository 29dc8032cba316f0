"""How long the command line takes to answer: `python -m benchmarks.startup --help`."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.memory import ROOT
from benchmarks.timing import alternate, machine, median_seconds, ratio, write_rows

GOALS = {"--help": 0.5, "list": 2.0}  # seconds
NOTHING = ("-c", "pass")


def measure(commands: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """Rows for `zoo COMMAND`, against an interpreter that does nothing, all in turn."""
    actions = [_run(*NOTHING), *(_run("-m", "zoo", *command.split()) for command in commands)]
    for action in actions:  # compiles the modules and fills the file cache
        action()
    times = alternate(actions, rounds)
    rows = []
    for position, command in enumerate(commands, start=1):
        found = ratio(times, baseline=position, ours=0)
        rows.append(
            {
                "command": f"zoo {command}",
                "seconds": median_seconds(times, position),
                "seconds_min": min(round_[position] for round_ in times),
                "seconds_max": max(round_[position] for round_ in times),
                "goal_seconds": GOALS.get(command),
                "baseline_seconds": median_seconds(times, 0),
                "ratio_median": found.median,
                "ratio_min": found.least,
                "ratio_max": found.most,
                "rounds": rounds,
                "machine": machine(),
            }
        )
    return rows


def _run(*words: str) -> Callable[[], object]:
    command = [sys.executable, *words]
    return lambda: subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    rounds: Annotated[int, typer.Option(help="timings of each command")] = 10,
    out: Annotated[Path | None, typer.Option(help="JSON, one list of rows")] = None,
) -> None:
    """Time `zoo --help` and `zoo list`, and `python -c pass` in turn with them."""
    rows = measure(list(GOALS), rounds)
    write_rows(rows, out)
    titles = ("command", "seconds", "spread", "goal", "of python -c pass")
    table = Table(*titles, title="from the command to its end")
    for row in rows:
        table.add_row(
            row["command"],
            f"{row['seconds']:.2f}",
            f"{row['seconds_min']:.2f} - {row['seconds_max']:.2f}",
            f"{row['goal_seconds']:g}",
            f"{row['ratio_median']:.1f} x",
        )
    Console().print(table)


if __name__ == "__main__":
    app()
