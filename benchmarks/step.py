"""Our training step against the published one: `python -m benchmarks.step --help`.

Both run in this process and in turn, from the same weights, on the same images, with the same
number of threads. The published step is always float32, not compiled.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import peak_bytes
from benchmarks.sides import (
    METHODS,
    WARM_UP,
    Ours,
    Published,
    Setup,
    Side,
    deviation,
    our_recipe,
    set_up_torch,
    state_bytes,
    weights_of,
)
from benchmarks.timing import (
    alternate,
    clock_named,
    machine,
    median_seconds,
    ratio,
    write_rows,
)
from zoo.registry import UserError

SAME = 1e-6  # relative, in float64; losses reach the host as float32
# How far a row may be from float64: so many times as far as the published step in its precision, or
# the floor. Kinks give the roundings of float32 a long tail.
SLACK = {"fp32": 10.0, "bf16": 2.0}
FLOOR = 1e-4

BUSY = 1.2  # the largest ratio over the smallest
MATRIX = {"cpu": 2048, "cuda": 8192}  # rows of the matrix product that stands for the machine


def measure(
    setup: Setup, rounds: int, steps: int = 1, memory: bool = True, clock: str = "wall"
) -> dict[str, Any]:
    """One row: fields of `Setup`, then what was measured.

    Args:
        setup: of the row.
        rounds: pairs of timings; 0 leaves them out, and the comparison of values with them.
        steps: taken for one timing.
        memory: measure the peaks, in child processes.
        clock: "wall", or "cpu" for the processor's time.
    """
    return {
        **asdict(setup),
        "blocks": setup.num_blocks,
        **(_peaks(setup) if memory else {}),
        **(_times(setup, rounds, steps, clock) if rounds else {}),
        "threads": torch.get_num_threads(),
        "machine": machine(setup.device),
    }


def _times(setup: Setup, rounds: int, steps: int, clock: str) -> dict[str, Any]:
    seconds_of = clock_named(clock, setup.device)
    ours, published, exact = _both(setup, seconds_of)
    for t in range(2, WARM_UP):
        published.step(t)
        ours.step(t)
    actions = [_several(side, steps, setup.device) for side in (published, ours)]
    times = alternate(actions, rounds, seconds_of)
    seconds, published_seconds = median_seconds(times, 1) / steps, median_seconds(times, 0) / steps
    del ours, published
    found = ratio(times)
    flops, published_flops = _flops(replace(setup, compiled=False))
    rate = _matrix_rate(setup.device, setup.precision, seconds_of)
    return {
        **exact,
        "ratio_median": found.median,
        "ratio_min": found.least,
        "ratio_max": found.most,
        "seconds": seconds,
        "published_seconds": published_seconds,
        "images_per_s": setup.batch / seconds,
        "published_images_per_s": setup.batch / published_seconds,
        "flops": flops,
        "published_flops": published_flops,
        "matrix_flops_per_s": rate,
        "share_of_matrix_rate": flops / seconds / rate,
        "rounds": rounds,
        "steps_per_round": steps,
        "clock": clock,
    }


def _both(
    setup: Setup, clock: Callable[[], float] = time.perf_counter
) -> tuple[Ours, Published, dict[str, Any]]:
    """Both sides after two steps, and whether ours computed what the published one does."""
    ours, published = Ours(setup), Published(setup)
    weights = weights_of(ours)
    want = Published(setup, torch.float64).first_steps(weights)
    baseline = published.first_steps(weights)
    if setup.precision == "bf16":
        baseline = Published(setup, autocast=True).first_steps(weights)
    start = clock()
    got = ours.first_steps()
    seconds = clock() - start  # with compilation
    form = _form_deviation(replace(setup, compiled=False, precision="fp32"))
    near, far = deviation(got, want), deviation(baseline, want)
    facts = {
        "exact": form <= SAME and near <= max(FLOOR, SLACK[setup.precision] * far),
        "form_deviation": form,
        "deviation": near,
        "published_deviation": far,
        "first_steps_seconds": seconds,
    }
    return ours, published, facts


@cache
def _form_deviation(setup: Setup) -> float:
    """How far ours is from the published step where rounding hides nothing: both in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        ours, published = Ours(setup), Published(setup, torch.float64)
        want = published.first_steps(weights_of(ours))
        return deviation(ours.first_steps(), want)
    finally:
        torch.set_default_dtype(torch.float32)


@cache
def _flops(setup: Setup) -> tuple[int, int]:
    """Of a step of ours, not compiled, and of the published one."""
    counts = []
    for side in (Ours(setup), Published(setup)):
        with FlopCounterMode(display=False) as counter:
            side.step(0)
        counts.append(counter.get_total_flops())
    return counts[0], counts[1]


def _several(side: Side, steps: int, device: str) -> Callable[[], None]:
    """The next steps in one action, to the end of what the device has to do for them."""
    numbers = itertools.count(WARM_UP)

    def action() -> None:
        for t in itertools.islice(numbers, steps):
            side.step(t)
        if device != "cpu":
            torch.cuda.synchronize()

    return action


@cache
def _matrix_rate(device: str, precision: str, clock: Callable[[], float]) -> float:
    """Floating-point operations a second of one large matrix product."""
    n, dtype = MATRIX[device], torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))

    def action() -> None:
        a @ b
        if device != "cpu":
            torch.cuda.synchronize()

    action()
    return 2 * n**3 / median_seconds(alternate([action], 5, clock), 0)


def _peaks(setup: Setup) -> dict[str, Any]:
    """Peak bytes of both sides; on a CPU beyond a child's that has the same imports."""

    def peak(side: str, setup: Setup) -> int:
        arguments = {"threads": torch.get_num_threads(), "setup": asdict(setup)}
        return peak_bytes("benchmarks.sides:prepare", side=side, **arguments)

    plain, state = replace(setup, compiled=False), state_bytes(setup)
    ours, published = peak("ours", setup), peak("published", plain)
    if setup.device == "cpu":
        idle = peak("idle", plain)
        published -= idle
        ours -= peak("idle", setup) if setup.compiled else idle
    return {
        "peak_bytes": ours,
        "published_peak_bytes": published,
        "state_bytes": state,
        "beyond_state_ratio": (ours - state) / (published - state),
    }


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """For people; what was not measured stays empty."""
    made = Table(title="published step / ours")
    for name in ("method", "precision", "compiled", "exact"):
        made.add_column(name)
    for name in ("ratio", "spread", "ms", "images/s", "MiB", "beyond state", "of matrix rate"):
        made.add_column(name, justify="right")
    for row in rows:
        cells = [row["method"], row["precision"], "yes" if row["compiled"] else "no"]
        made.add_row(*cells, *_time_cells(row)[:-1], *_memory_cells(row), _time_cells(row)[-1])
    return made


def _time_cells(row: dict[str, Any]) -> list[str]:
    if "ratio_median" not in row:
        return [""] * 6
    return [
        f"{'yes' if row['exact'] else 'NO'} ({row['form_deviation']:.0e})",
        f"{row['ratio_median']:.2f}",
        f"{row['ratio_min']:.2f} - {row['ratio_max']:.2f}",
        f"{1e3 * row['published_seconds']:.0f} / {1e3 * row['seconds']:.0f}",
        f"{row['images_per_s']:.2f}",
        f"{row['share_of_matrix_rate']:.0%}",
    ]


def _memory_cells(row: dict[str, Any]) -> list[str]:
    if "peak_bytes" not in row:
        return ["", ""]
    peaks = (row[name] / 2**20 for name in ("published_peak_bytes", "peak_bytes"))
    return [" / ".join(f"{peak:.0f}" for peak in peaks), f"{row['beyond_state_ratio']:.2f} x"]


def _is_on(switch: str) -> bool:
    if switch not in ("off", "on"):
        raise UserError(f"--compile {switch!r}; accepted are off and on")
    return switch == "on"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    methods: Annotated[str, typer.Option(help="names, with commas")] = ",".join(METHODS),
    size: Annotated[int, typer.Option(help="of the images, pixels")] = 128,
    width: Annotated[int, typer.Option(help="of all networks")] = 32,
    blocks: Annotated[
        int, typer.Option(help="residual blocks; 0: 4 for U-GAT-IT, 6 for CycleGAN and CUT")
    ] = 0,
    batch: Annotated[int, typer.Option(help="images a step")] = 1,
    rounds: Annotated[int, typer.Option(help="pairs of timings; 0: memory only")] = 10,
    steps: Annotated[int, typer.Option(help="taken for one timing; 10 on a GPU")] = 1,
    threads: Annotated[int, typer.Option(help="0: as torch chooses")] = 0,
    precision: Annotated[str, typer.Option(help="of ours, with commas")] = "fp32,bf16",
    compile_: Annotated[str, typer.Option("--compile", help="of ours: off, on or off,on")] = "off",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    options: Annotated[
        list[str] | None, typer.Option(help="further setting of our recipe, key=value; repeatable")
    ] = None,
    clock: Annotated[
        str, typer.Option(help="wall, or cpu: the processor's time, for a busy machine, one thread")
    ] = "wall",
    memory: Annotated[bool, typer.Option(help="measure peaks, in child processes")] = True,
    out: Annotated[Path | None, typer.Option(help="JSON, one list of rows")] = None,
) -> None:
    """Time the published step and ours in turn."""
    console = Console(width=150 if not Console().is_terminal else None)
    set_up_torch(threads)
    facts = machine(device)
    features = ", ".join(facts["cpu_features"]) or "none"
    console.print(f"{facts['device']}, {torch.get_num_threads()} threads, torch {facts['torch']}")
    console.print(f"CPU instructions for bfloat16: {features}")
    rows = []
    try:
        switches = [_is_on(switch) for switch in compile_.split(",")]
        chosen = [
            Setup(method, size, width, blocks, batch, kind, on, device, tuple(options or ()))
            for method, kind, on in itertools.product(
                methods.split(","), precision.split(","), switches
            )
        ]
        clock_named(clock, device)
        for setup in chosen:
            our_recipe(setup)  # mistakes are told before the first minute
        for setup in chosen:
            rows.append(measure(setup, rounds, steps, memory, clock))
            write_rows(rows, out)
            console.print(f"{len(rows)} of {len(chosen)}: {setup.method} {setup.precision}")
    except UserError as error:
        console.print(f"[bold red]error:[/] {error}", soft_wrap=True)
        raise typer.Exit(2) from error
    console.print(table(rows))
    spread = [row["ratio_max"] / row["ratio_min"] for row in rows if "ratio_max" in row]
    if spread and statistics.median(spread) > BUSY:
        console.print("The rounds differ much: this machine is busy with something else, too.")


if __name__ == "__main__":
    app()
