"""Our metrics against clean-fid's, in turn: `python -m benchmarks.metrics --help`."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from cleanfid import fid
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.timing import alternate, machine, median_seconds, ratio, write_rows
from eval.features.inception import Inception
from eval.metrics.fid import frechet_distance
from eval.metrics.kid import kernel_distance
from zoo.images import read_image, write_image

EQUAL = 1e-3  # relative
SUBSETS = 100
SIDE = 256


class Pooled(Inception):
    """The published extractor's way to its network, and averages of patches in place of that."""

    def __init__(self) -> None:
        self.dim, self._device, self._net = 192, torch.device("cpu"), pooled


def pooled(images: Tensor) -> Tensor:
    """N 3 H W to N 192."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 8).flatten(1)


def measure(
    name: str, baseline: Callable[[], Any], ours: Callable[[], Any], rounds: int
) -> dict[str, Any]:
    """One row; both return the same numbers, but for rounding."""
    want, got = np.asarray(baseline()), np.asarray(ours())  # warms up, too
    deviation = float(np.linalg.norm(got - want) / np.linalg.norm(want))
    times = alternate([baseline, ours], rounds)
    found = ratio(times)
    return {
        "metric": name,
        "equal": deviation <= EQUAL,
        "deviation": deviation,
        "ratio_median": found.median,
        "ratio_min": found.least,
        "ratio_max": found.most,
        "seconds": median_seconds(times, 1),
        "baseline_seconds": median_seconds(times, 0),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "machine": machine(),
    }


def frechet(rows: int, dim: int, rounds: int) -> dict[str, Any]:
    """Fréchet distance of two sets of random features."""
    a, b = _features(rows, dim)

    def baseline() -> float:
        with warnings.catch_warnings():  # scipy gives notice of an argument that clean-fid uses
            warnings.simplefilter("ignore", DeprecationWarning)
            return fid.fid_from_feats(a, b)

    return measure(
        f"frechet distance, {rows} x {dim}", baseline, lambda: frechet_distance(a, b), rounds
    )


def kernel(rows: int, dim: int, rounds: int) -> dict[str, Any]:
    """Kernel distance, a hundred subsets of half the rows; both average over other draws.

    What is compared for equality is one subset of all rows, which leaves nothing to chance.
    """
    a, b = _features(rows, dim)
    want = fid.kernel_distance(a, b, num_subsets=1, max_subset_size=rows)
    got = kernel_distance(a, b, num_subsets=1, subset_size=rows).mean

    def baseline() -> float:
        fid.kernel_distance(a, b, num_subsets=SUBSETS, max_subset_size=rows // 2)
        return want

    def ours() -> float:
        kernel_distance(a, b, num_subsets=SUBSETS, subset_size=rows // 2)
        return got

    return measure(f"kernel distance, {rows} x {dim}", baseline, ours, rounds)


def feature_pass(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """From image files to features: decoding and resizing to 299 pixels, almost no network."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:04d}.png" for i in range(count)]
    for path in paths:
        write_image(path, rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    extractor = Pooled()

    def baseline() -> np.ndarray:
        return fid.get_folder_features(
            str(folder),
            pooled,
            num_workers=0,
            batch_size=32,
            device=torch.device("cpu"),
            mode="clean",
            verbose=False,
        )

    def ours() -> np.ndarray:
        return extractor([read_image(path) for path in paths])

    return measure(f"feature pass, {count} images of {SIDE} pixels", baseline, ours, rounds)


def _features(rows: int, dim: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    scales = 1 / np.sqrt(1 + np.arange(dim))  # as networks' features, few directions count
    return [
        (shift + rng.normal(size=(rows, dim)) * scales).astype(np.float32) for shift in (0, 0.1)
    ]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    rows: Annotated[int, typer.Option(help="features of each set")] = 200,
    dim: Annotated[int, typer.Option(help="length of a feature")] = 2048,
    images: Annotated[int, typer.Option(help="of the feature pass")] = 64,
    rounds: Annotated[int, typer.Option(help="pairs of timings")] = 3,
    threads: Annotated[int, typer.Option(help="0: as torch chooses")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON, one list of rows")] = None,
) -> None:
    """Time clean-fid's metrics and ours in turn."""
    if threads:
        torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        found = [
            frechet(rows, dim, rounds),
            kernel(rows, dim, rounds),
            feature_pass(Path(folder), images, rounds),
        ]
    write_rows(found, out)
    table = Table("metric", "equal", "ratio", "spread", "ms", title="clean-fid / ours")
    for row in found:
        table.add_row(
            row["metric"],
            f"{'yes' if row['equal'] else 'NO'} ({row['deviation']:.0e})",
            f"{row['ratio_median']:.1f}",
            f"{row['ratio_min']:.1f} - {row['ratio_max']:.1f}",
            f"{1e3 * row['baseline_seconds']:.1f} / {1e3 * row['seconds']:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    app()
