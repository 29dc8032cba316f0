"""Tables on the terminal."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from zoo.sweep import Published, Sweep, load_sweep
from zoo.typed import to_plain


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under heads; the first column stays on one line, others fold."""
    table = Table(
        Column(columns[0], no_wrap=True), *(Column(name, overflow="fold") for name in columns[1:])
    )
    for row in rows:
        table.add_row(*map(escape, row))
    Console(emoji=False).print(table)


def print_sweep(name: str, as_json: bool = False) -> None:
    """Print a sweep's runs and its published tables with their sources, or all of it as JSON."""
    sweep = load_sweep(name)
    config = sweep.config
    if as_json:
        print(json.dumps(to_plain(config), indent=2))
        return
    print(f"{sweep.name}: {config.description}")
    print(f"seeds: {', '.join(map(str, config.seeds))}; metrics: {', '.join(config.metrics)}")
    if config.null:
        print(f"null comparison: {config.null.row}, seeds {', '.join(map(str, config.null.seeds))}")
    if config.level:
        print(f"level: {config.level.metric} {config.level.value:g} on {config.level.task}")
    runs = [
        (label, " ".join([run.recipe, *run.overrides]), ", ".join(run.tasks.values()))
        for label, row in config.rows.items()
        for run in row.runs
    ]
    print_table(("row", "recipe", "tasks"), runs)
    for table in config.published:
        doubt = "" if table.verified else ", not verified"
        print(f"\n{table.source}: {table.metric}, {table.better} is better{doubt}")
        print(table.convention)
        print_table(*published_cells(sweep, table))


def published_cells(sweep: Sweep, table: Published) -> tuple[list[str], list[list[str]]]:
    """A published table as text, the longer side down.

    Returns:
        The heads of the columns, and the lines, whose first cells are their heads. A cell is "",
        "0.52" or "11.61 ± 0.57"; all have the table's number of decimals.
    """
    labels = [label for label in sweep.config.rows if label in table.values]
    tasks = [
        task
        for task in sweep.config.tasks
        if any(task in values for values in table.values.values())
    ]
    cells = {
        (label, task): value if isinstance(value, tuple) else (value,)
        for label, values in table.values.items()
        for task, value in values.items()
    }
    decimals = max(len(f"{x:g}".partition(".")[2]) for cell in cells.values() for x in cell)

    def text(label: str, task: str) -> str:
        return " ± ".join(f"{x:.{decimals}f}" for x in cells.get((label, task), ()))

    if len(tasks) > len(labels):
        return ["task", *labels], [[task, *(text(row, task) for row in labels)] for task in tasks]
    return ["row", *tasks], [[row, *(text(row, task) for task in tasks)] for row in labels]
