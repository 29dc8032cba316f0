"""How cost grows with size, batch and processes: `python -m benchmarks.scale --help`.

Steps are those of `benchmarks.step`: the published one, ours, and ours in bfloat16, in turn.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.data import picture
from benchmarks.memory import ROOT, peak_bytes
from benchmarks.plot import Panel, svg
from benchmarks.sides import Ours, Published, Setup, Side, our_recipe, set_up_torch
from benchmarks.timing import alternate, clock_named, machine, median_seconds, write_rows
from zoo.recipe import dump_recipe
from zoo.registry import UserError, nearest
from zoo.translation import PRECISIONS, load_run

PARTS = ("size", "batch", "translate", "processes")
PUBLISHED, OURS, OURS_BF16 = "published", "ours", "ours, bf16"
Rows = list[dict[str, Any]]


def steps(setup: Setup, rounds: int, clock: str, *, memory: bool = False) -> Rows:
    """A row for each side of one setup, timed in turn.

    Args:
        setup: its precision is left aside.
        rounds: of timings.
        clock: "wall" or "cpu".
        memory: measure the peaks of float32 too, in child processes.
    """
    half = replace(setup, precision="bf16")
    sides: dict[str, Side] = {PUBLISHED: Published(setup), OURS: Ours(setup), OURS_BF16: Ours(half)}
    for side in sides.values():
        side.step(0)
    times = alternate(
        [_next(side) for side in sides.values()], rounds, clock_named(clock, setup.device)
    )
    rows = []
    for position, name in enumerate(sides):
        seconds = median_seconds(times, position)
        row = {"side": name, "method": setup.method, "size": setup.size, "width": setup.width}
        row |= {"batch": setup.batch, "seconds": seconds, "images_per_s": setup.batch / seconds}
        rows.append(row | {"clock": clock, "threads": torch.get_num_threads()})
    del sides
    if memory:
        for row in rows[:2]:
            row["peak_bytes"] = _peak(row["side"], setup) - _peak("idle", setup)
    return rows


def _next(side: Side) -> Callable[[], None]:
    numbers = itertools.count(1)
    return lambda: side.step(next(numbers))


def _peak(side: str, setup: Setup) -> int:
    arguments = {"threads": torch.get_num_threads(), "setup": asdict(setup)}
    return peak_bytes("benchmarks.sides:prepare", side=side, **arguments)


def translating(run: str, count: int, batches: Sequence[int], rounds: int, clock: str) -> Rows:
    """Images a second of a folder, PNG to PNG, decoding and encoding included.

    Args:
        run: folder or name of a shipped run.
        count: images in the folder, of the run's size.
        batches: images translated together.
        rounds: of timings.
        clock: "wall" or "cpu".
    """
    loaded = {kind: load_run(run, device="cpu", precision=kind) for kind in PRECISIONS}
    side = loaded["fp32"].recipe.data.config.size
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "in", Path(temporary) / "out"
        source.mkdir()
        for n in range(count):
            picture(n, side).save(source / f"{n:04}.png")
        kinds = list(itertools.product(PRECISIONS, batches))

        def action(kind: str, batch: int) -> Callable[[], object]:
            return lambda: loaded[kind].translate_path(source, target, batch=batch)

        actions = [action(*kind) for kind in kinds]
        for one in actions:
            one()  # warm
        times = alternate(actions, rounds, clock_named(clock))
    rows = []
    for position, (kind, batch) in enumerate(kinds):
        seconds = median_seconds(times, position) / count
        row = {"run": run, "size": side, "precision": kind, "batch": batch, "seconds": seconds}
        rows.append(row | {"images_per_s": 1 / seconds, "clock": clock})
    return rows


def trained_by(processes: int, setup: Setup, images: int) -> dict[str, Any]:
    """One row: images a second that several processes of one thread train, by the wall clock.

    They are launched as a user does it; the batch is so many of the setup's batches.

    Args:
        processes: how many.
        setup: of each.
        images: of the run, for each process; the first half is not timed.
    """
    recipe = our_recipe(replace(setup, batch=setup.batch * processes))
    recipe.data.config.num_train = max(16, 2 * setup.batch * processes)
    recipe.train.images, recipe.log.every_images = images * processes, images * processes // 2
    recipe.checkpoint.every_images, recipe.samples.every_images = recipe.train.images, 0
    with tempfile.TemporaryDirectory() as temporary:
        file, out = Path(temporary) / "recipe.yaml", Path(temporary) / "run"
        file.write_text(dump_recipe(recipe))
        words = ["zoo", "train", str(file), "--cpu", "--out", str(out)]
        command = [sys.executable, "-m", *_launcher(processes), *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"training failed:\n{done.stderr[-2000:]}")
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    first, last = (line for line in lines if "seconds" in line)
    seconds = (last["seconds"] - first["seconds"]) / (last["images"] - first["images"])
    row = {"processes": processes, "method": setup.method, "size": setup.size, "clock": "wall"}
    return row | {"batch": setup.batch * processes, "images_per_s": 1 / seconds}


def _launcher(processes: int) -> list[str]:
    if processes == 1:
        return []
    words = f"accelerate.commands.launch --multi_gpu --num_processes {processes} --num_machines 1"
    words += " --mixed_precision no --dynamo_backend no --main_process_port 0 -m"
    return words.split()


def panels(rows: Sequence[dict[str, Any]]) -> list[Panel]:
    """What of the rows can be drawn."""
    drawn = []
    for part, what, title, across in (
        ("size", "seconds", "seconds a step", "pixels a side"),
        ("size", "peak_bytes", "MiB at the peak of a step", "pixels a side"),
        ("batch", "images_per_s", "images a second", "images a step"),
        ("translate", "images_per_s", "images a second, translated", "images together"),
    ):
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if row["part"] == part and what in row:
                label = row.get("side") or (OURS if row["precision"] == "fp32" else OURS_BF16)
                value = row[what] / 2**20 if what == "peak_bytes" else row[what]
                at = row["size" if part == "size" else "batch"]
                lines.setdefault(label, []).append((at, value))
        if lines:
            drawn.append(Panel(title, across, lines))
    return drawn


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """For people."""
    made = Table()
    for name in ("part", "what", "pixels", "batch", "ms", "images/s", "MiB"):
        made.add_column(name, justify="left" if name in ("part", "what") else "right")
    for row in rows:
        what = row.get("side") or row.get("precision") or f"{row['processes']} processes"
        ms = f"{1e3 * row['seconds']:.1f}" if "seconds" in row else ""
        peak = f"{row['peak_bytes'] / 2**20:.0f}" if "peak_bytes" in row else ""
        numbers = str(row["size"]), str(row["batch"]), ms, f"{row['images_per_s']:.2f}", peak
        made.add_row(row["part"], what, *numbers)
    return made


def _parts(words: str) -> list[str]:
    for word in words.split(","):
        if word not in PARTS:
            raise UserError(f"part {word!r};{nearest(word, PARTS)} parts: {', '.join(PARTS)}")
    return words.split(",")


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    parts: Annotated[str, typer.Option(help="with commas")] = ",".join(PARTS),
    method: Annotated[str, typer.Option(help="of the steps")] = "ugatit_light",
    width: Annotated[int, typer.Option(help="of all networks")] = 32,
    sizes: Annotated[str, typer.Option(help="pixels, at batch 1")] = "64,128,256,512",
    batches: Annotated[str, typer.Option(help="at the smallest size")] = "1,2,4,8,16,32",
    processes: Annotated[str, typer.Option(help="at the smallest size")] = "1,2",
    images: Annotated[int, typer.Option(help="that each process trains on")] = 200,
    run: Annotated[str, typer.Option(help="that translates")] = "toonfaces-ugatit",
    count: Annotated[int, typer.Option(help="images translated")] = 64,
    rounds: Annotated[int, typer.Option(help="of timings in turn")] = 5,
    threads: Annotated[int, typer.Option(help="0: as torch chooses")] = 0,
    clock: Annotated[
        str, typer.Option(help="wall, or cpu: the processor's time, for a busy machine, one thread")
    ] = "wall",
    memory: Annotated[bool, typer.Option(help="measure peaks by size")] = True,
    out: Annotated[Path | None, typer.Option(help="JSON, one list of rows")] = None,
    plot: Annotated[Path | None, typer.Option(help="SVG file of the rows")] = None,
) -> None:
    """Time steps, translation and training by several processes as they grow."""
    console = Console(width=120 if not Console().is_terminal else None)
    set_up_torch(threads)
    rows: Rows = []

    def measured() -> Iterator[tuple[str, Rows]]:
        for size in _numbers(sizes):
            if "size" in chosen:
                yield "size", steps(replace(smallest, size=size), rounds, clock, memory=memory)
        for batch in _numbers(batches):
            if "batch" in chosen:
                yield "batch", steps(replace(smallest, batch=batch), rounds, clock)
        if "translate" in chosen:
            yield "translate", translating(run, count, _numbers(batches), rounds, clock)
        for number in _numbers(processes):
            if "processes" in chosen:
                yield "processes", [trained_by(number, smallest, images)]

    try:
        clock_named(clock)
        smallest, chosen = Setup(method, min(_numbers(sizes)), width), _parts(parts)
        for part, found in measured():
            rows += [{"part": part, **row, "machine": machine()} for row in found]
            write_rows(rows, out)
            console.print(f"{part}: {len(rows)} rows")
    except UserError as error:
        console.print(f"[bold red]error:[/] {error}", soft_wrap=True)
        raise typer.Exit(2) from error
    console.print(table(rows))
    if plot is not None:
        plot.write_text(svg(panels(rows)), encoding="utf-8")


if __name__ == "__main__":
    app()
