"""Small trainings for tests: recipes, processes that are cut, and what a run leaves behind."""

import json
import os
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from zoo import checkpoint
from zoo.method import Method
from zoo.recipe import dump_recipe, load_recipe
from zoo.registry import METHODS, Part, Registry
from zoo.runs import build_method
from zoo.schema import Recipe
from zoo.trainer import train

ROOT = Path(__file__).resolve().parent.parent
QUICK = (
    "data.num_train=6",
    "data.num_test=2",
    "samples.every_images=0",
    "log.every_images=4",
    "checkpoint.every_images=6",
)
CASES = {  # what a resumed run has to carry on: small pools that swap, and averages
    "cyclegan": ("method.pool_size=2",),
    "ugatit": ("ema.halflife_images=5",),
    # 64 pixels: the first size with dropout. Batch statistics are of each process.
    "pix2pix": (
        "data.size=64",
        "method.generator.norm=instance",
        "method.discriminator.norm=instance",
    ),
    "cut": ("method.flip_equivariance=true", "ema.halflife_images=5"),
}


def recipe_of(method: str, *overrides: str) -> Recipe:
    """The debug recipe of a method, with even less data."""
    return load_recipe(f"debug/{method}", [*QUICK, *overrides])


def with_method(recipe: Recipe, cls: type) -> Recipe:
    """The recipe with another class for its method; the registry of everybody stays as it is."""
    registry = Registry("method", "zoo.methods")
    registry.register(recipe.method.name)(cls)
    return replace(recipe, method=Part(registry, recipe.method.name, recipe.method.config))


def spoiled(method: str, player: str, at: int, micro_batch: int | None = None) -> type:
    """A method whose first term for `player` is NaN in step `at`, in each micro-batch or in one."""
    base: Any = METHODS[method]

    class Spoiled(base):
        asked = 0  # updates of the player in that step

        def step(self, batch, update):
            def spoil(name, terms):
                if name == player and batch.step == at and terms:
                    if micro_batch in (None, Spoiled.asked):
                        terms = {**terms, **_times_nan(*next(iter(terms.items())))}
                    Spoiled.asked += 1
                update(name, terms)

            super().step(batch, spoil)

    Spoiled.Config = base.Config
    return Spoiled


def _times_nan(key: str, term: Any) -> dict[str, Any]:
    nan = float("nan")
    return {key: {k: v * nan for k, v in term.items()} if isinstance(term, dict) else term * nan}


def count_inputs(method: Method, images: int) -> dict[str, int]:
    """By player, how many inputs its networks get from now on.

    Several inputs may go through a network as one batch; of coupled networks each side counts.

    Args:
        method: whose networks are watched.
        images: of one input.
    """
    count = dict.fromkeys(method.players(), 0)

    def add(player: str, x: Any) -> None:
        count[player] += len(x) // images if isinstance(x, Tensor) else 1

    for player, nets in method.players().items():
        for net in nets:
            for asked in getattr(net, "sides", [net]):
                asked.register_forward_hook(lambda _, inputs, __, p=player: add(p, inputs[0]))
    return count


# What a run leaves behind -----------------------------------------------------------------------


def final_state(run: Path) -> dict[str, Tensor]:
    """All tensors of a run's newest checkpoint, by file and path."""
    folder = checkpoint.find(run)
    found: dict[str, Tensor] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix == ".safetensors":
            found |= {f"{file.name}:{name}": t for name, t in load_file(file).items()}
        elif file.suffix == ".pt":
            _collect(torch.load(file), file.name, found)
    return found


def _collect(value: Any, path: str, into: dict[str, Tensor]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _collect(item, f"{path}.{key}", into)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _collect(item, f"{path}[{i}]", into)
    elif isinstance(value, Tensor):
        into[path] = value
    elif isinstance(value, int | float):
        into[path] = torch.tensor(value, dtype=torch.float64)


def assert_same_state(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """The same tensors, bit for bit."""
    assert one.keys() == other.keys()
    different = [key for key in one if not torch.equal(one[key], other[key])]
    assert not different, f"{len(different)} of {len(one)} differ: {different[:5]}"


def weights_hash(run: Path) -> str:
    """SHA-256 of the newest weights."""
    return checkpoint.sha256_of(checkpoint.find(run) / "weights.safetensors")


def metrics(run: Path) -> list[dict]:
    """The lines of metrics.jsonl without what depends on the clock and the machine."""
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "images_per_s", "waiting", "peak_bytes")
    return [{k: v for k, v in line.items() if k not in clock} for line in lines]


def assert_same_run(run: Path, reference: Path) -> None:
    """Two runs ended alike to the bit: weights, moments, averages, pools, metrics."""
    assert_same_state(final_state(run), final_state(reference))
    assert weights_hash(run) == weights_hash(reference)
    assert metrics(run) == metrics(reference)


# Processes --------------------------------------------------------------------------------------


def start(function: Callable[[], object], output: Path, **environment: str) -> int:
    """Call a function in a fork of this process; returns its number.

    It exits as a Python program would: 0, the code of a SystemExit, or 1 after an exception, whose
    traceback goes to `output`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has several threads
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ.update(environment)
        with output.open("w") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        function()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int, seconds: float = 120) -> int:
    """The exit code of a child, negative for a signal; kills it after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"process {child} did not end within {seconds} s")


def start_several(count: int, function: Callable[[int], object], folder: Path) -> list[int]:
    """`function(rank)` in forks that form a process group on the CPU once they ask accelerate."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    return [
        start(
            lambda rank=rank: function(rank),
            folder / f"output_{rank}.txt",
            ACCELERATE_USE_CPU="true",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            WORLD_SIZE=str(count),
            LOCAL_WORLD_SIZE=str(count),
            RANK=str(rank),
            LOCAL_RANK=str(rank),
        )
        for rank in range(count)
    ]


def run_several(count: int, function: Callable[[int], object], folder: Path) -> None:
    """Like `start_several`; waits, and fails with their output unless all end well."""
    codes = [wait(child) for child in start_several(count, function, folder)]
    texts = [(folder / f"output_{rank}.txt").read_text() for rank in range(count)]
    assert codes == [0] * count, "\n".join(texts)


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def num_lines(run: Path) -> int:
    """Lines of metrics.jsonl so far."""
    file = run / "metrics.jsonl"
    return file.read_text().count("\n") if file.is_file() else 0


def train_here(recipe: Recipe, out: Path, **options: Any) -> Path:
    """`train` on the CPU."""
    return train(recipe, out, cpu=True, **options)


def zoo_command(*words: str | Path) -> Sequence[str]:
    """`python -m zoo …`."""
    return [sys.executable, "-m", "zoo", *map(str, words)]


def untrained(recipe: Recipe, folder: Path, *, averages: float | None = None) -> Path:
    """A run folder with one checkpoint of fresh weights; averages differ from them by a factor."""
    torch.manual_seed(0)
    method = build_method(recipe, None)
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    translating = {p for net in method.translators() for p in net.parameters()}
    scale = 1.0 if averages is None else averages
    ema = {n: p * scale for n, p in method.named_parameters() if p in translating}
    checkpoint.save_own_state(folder, checkpoint.Progress(), 0, {})
    checkpoint.save(
        folder,
        checkpoint.Progress(),
        weights=method.state_dict(),
        ema=ema if averages is not None else None,
        state={},
        num_processes=1,
        keep=2,
    )
    return folder
