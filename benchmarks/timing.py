"""Timing in turn, and what a row of figures says about the machine."""

import gc
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.registry import UserError

CLOCKS = ("wall", "cpu")
BF16_FEATURES = ("avx512_bf16", "amx_bf16", "amx_tile")


def clock_named(name: str, device: str = "cpu") -> Callable[[], float]:
    """Seconds that have passed, "wall", or that the processor worked for this process, "cpu".

    The second leaves out what a busy machine does for others meanwhile. It is the first's equal
    where one thread works alone, and no measure where several do, or a GPU.

    Raises:
        UserError: an unknown name, or the processor's clock on a GPU or with several threads.
    """
    if name not in CLOCKS:
        raise UserError(f"clock {name!r}; accepted are {' and '.join(CLOCKS)}")
    if name == "wall":
        return time.perf_counter
    import torch

    if device != "cpu" or torch.get_num_threads() != 1:
        raise UserError(
            f"the clock cpu counts the processor's time, which says how long a step takes with one "
            f"thread on a CPU only; here are {torch.get_num_threads()} threads on {device}"
        )
    return processor_seconds


def processor_seconds() -> float:
    """Of this process, and of its children that have ended: compilers, say."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


class Ratio(NamedTuple):
    """How many times faster, over the rounds."""

    median: float
    least: float
    most: float


def alternate(
    actions: Sequence[Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[tuple[float, ...]]:
    """Seconds of every action in every round, A B A B …, so that a slow spell meets all of them.

    Garbage is collected between the rounds and never within an action.

    Args:
        actions: what to time; each must have ended, on the device too, when it returns.
        rounds: how often.
        clock: seconds.
    """
    times = []
    gc.disable()
    try:
        for _ in range(rounds):
            gc.collect()
            times.append(tuple(_seconds(action, clock) for action in actions))
    finally:
        gc.enable()
    return times


def _seconds(action: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    action()
    return clock() - start


def ratio(times: Sequence[Sequence[float]], baseline: int = 0, ours: int = 1) -> Ratio:
    """The baseline's seconds over ours, each round on its own.

    Args:
        times: from `alternate`.
        baseline: position of the baseline among the actions.
        ours: position of what is compared with it.
    """
    values = [round_[baseline] / round_[ours] for round_ in times]
    return Ratio(statistics.median(values), min(values), max(values))


def median_seconds(times: Sequence[Sequence[float]], position: int) -> float:
    """Of one action over the rounds."""
    return statistics.median(round_[position] for round_ in times)


def cpu_features() -> list[str]:
    """Which of the instructions for bfloat16 this CPU has; none where Linux cannot be asked."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.is_file() else set()
    return [name for name in BF16_FEATURES if name in flags]


def machine(device: str = "cpu") -> dict[str, Any]:
    """What figures depend on: processor or card, its features, versions."""
    import torch

    on_gpu = device != "cpu"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else _cpu_name(),
        "cpus": os.cpu_count(),
        "cpu_features": cpu_features(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write_rows(rows: Sequence[dict[str, Any]], out: Path | None) -> None:
    """The rows as JSON; nothing without a file."""
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
