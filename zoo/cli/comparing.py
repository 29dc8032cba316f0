"""The command that runs a sweep and compares what comes out."""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from zoo.cli.base import eval_module
from zoo.registry import UserError


def compare(
    sweep: Annotated[str, typer.Argument(help="of `zoo list sweeps`, or a YAML file")],
    out: Annotated[Path, typer.Option(help="folder of its runs, tables and page")],
    jobs: Annotated[int, typer.Option(min=1, help="runs side by side, each a process")] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(help="train and score this row, or run, alone; repeatable"),
    ] = None,
    train: Annotated[
        bool, typer.Option(help="make missing runs; without, only what is there is scored")
    ] = True,
    debug: Annotated[
        bool, typer.Option("--debug", help="every run shrunk to drawn faces and seconds")
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="even where there is a GPU")] = False,
    emit: Annotated[
        Literal["commands", "slurm", "hosts"] | None,
        typer.Option(help="run nothing; write the commands, for other machines"),
    ] = None,
    hosts: Annotated[
        str, typer.Option(help="for --emit hosts: names, a,b or a:4,b:4 with 4 processes each")
    ] = "",
    trivial: Annotated[
        bool, typer.Option(help="rows of trivial translators, fitted once: minutes")
    ] = True,
) -> None:
    """Train a sweep's runs, as far as they are missing, score them and compare them.

    Give the same command again to go on, and, when all is done, to write tables and page anew.
    """
    plans, running = (eval_module(f"_compare.{name}") for name in ("plan", "running"))
    from zoo.sweep import load_sweep

    loaded = load_sweep(sweep)
    planned = plans.plan(loaded, out, debug=debug, cpu=cpu)
    chosen = plans.plan(loaded, out, debug=debug, cpu=cpu, only=only) if only else planned
    told = plans.check_folders(planned)
    if hosts and emit != "hosts":
        raise UserError("--hosts belongs to --emit hosts")
    if emit is not None:
        names = [name.strip() for name in hosts.split(",") if name.strip()]
        for file in eval_module("_compare.emit").emit(emit, chosen, out, loaded.name, names):
            typer.echo(file)
        typer.echo("zoo compare with the same sweep and folder then scores and compares the runs")
        return
    tasks = running.tasks_of(chosen, loaded.config.metrics, train)
    failures = _run(tasks, jobs, cpu) if tasks else {}

    compared = eval_module("compare")
    made = compared.compare(
        loaded, planned, out, command=shlex.join(["zoo", *sys.argv[1:]]), trivial=trivial, told=told
    )
    files = compared.write_comparison(made, out)
    _print_tables(made)
    for file in files:
        typer.echo(file)
    if failures:
        for run, reason in failures.items():
            typer.echo(f"failed: {run}: {reason}", err=True)
        raise typer.Exit(1)


def _run(tasks: Any, jobs: int, cpu: bool) -> dict[str, str]:
    """Run the tasks with one line for each thing that happens; why some failed."""
    processes = eval_module("_compare.processes")
    start = time.monotonic()

    def say(text: str) -> None:
        typer.echo(f"[{eval_module('_compare.words').duration(time.monotonic() - start)}] {text}")

    threads = processes.threads_of_each(jobs)
    say(f"{len(tasks)} runs to make or to score, {jobs} side by side with {threads} threads each")
    if jobs > processes.cores():
        say(f"{jobs} processes share {processes.cores()} cores: fewer jobs may be faster")
    return processes.run_tasks(tasks, jobs, say, devices=[] if cpu else processes.visible_gpus())


def _print_tables(made: Any) -> None:
    sections = eval_module("_compare.sections")
    from zoo.tables import print_table

    marks = {"best": " *", "tie": " ="}
    for table in [t for task in made.tasks for t in sections.score_tables(made, task, "final", 3)]:
        typer.echo(f"\n{table.title}")
        rows = [
            [text.value + marks.get(text.mark, "") + _in_brackets(text.span) for text in row]
            for row in table.rows
        ]
        print_table(table.heads, rows)
        if table.notes:
            typer.echo(" ".join(table.notes))
    legend = (f"{marks[mark].strip()} {text}" for mark, text in sections.LEGEND.items())
    typer.echo("; ".join(legend))
    for text in [*([made.pilot] if made.pilot else []), *made.warnings]:
        typer.echo(f"note: {text}")


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
