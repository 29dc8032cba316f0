"""Our metrics against clean-fid's, in turn, and each against the pass of the features.

`python -m benchmarks.metrics --help`
"""

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from cleanfid import fid
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from benchmarks.timing import alternate, machine, median_seconds, ratio, write_rows
from eval import resampling
from eval.features.inception import Inception
from eval.features.offline import OfflineV1
from eval.features.procedural import procedural_images
from eval.metric import Evaluated
from eval.metrics.fid import frechet_distance
from eval.metrics.kid import kernel_distance
from eval.scorer import LabelledImages
from zoo.downloads import MissingWeights
from zoo.images import read_image, write_image
from zoo.registry import METRICS

EQUAL = 1e-3  # relative
SUBSETS = 100
SIDE = 256
FEATURES = 506  # of the extractor `offline-v1`


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


def against_features(size: int, count: int, rounds: int) -> list[dict[str, Any]]:
    """Every metric that needs no missing weights, in processor time, and the pass of the features.

    Translations and the way back are at hand, as in an evaluation; resamples of the intervals are
    computed, and what a metric learns is learnt anew.

    Args:
        size: side of the images in pixels.
        count: images of each set.
        rounds: timings of each.
    """
    data = _evaluated(size, count)
    metrics = _built_metrics()
    extractor = OfflineV1()
    actions: list[Callable[[], Any]] = [lambda: extractor(data.images)]
    actions += [lambda name=name: _built_metrics()[name](data) for name in metrics]
    times = alternate(actions, rounds, clock=time.process_time)
    rows = []
    for position, name in enumerate(metrics, start=1):
        found = ratio(times, baseline=0, ours=position)
        rows.append(
            {
                "metric": name,
                "size": size,
                "images": count,
                "ratio_median": found.median,
                "ratio_min": found.least,
                "ratio_max": found.most,
                "seconds": median_seconds(times, position),
                "feature_seconds": median_seconds(times, 0),
                "rounds": rounds,
                "threads": torch.get_num_threads(),
                "machine": machine(),
            }
        )
    return rows


def _built_metrics() -> dict[str, Any]:
    """The registered metrics by name, but those whose weights are missing."""
    found = {}
    for name in METRICS.names():
        try:
            found[name] = METRICS.default(name).build()
        except MissingWeights:
            continue
    return found


def _evaluated(size: int, count: int) -> Evaluated:
    """All that a metric can ask for: procedural pictures, with a square that labels tell."""
    sources = procedural_images(count, seed=0, size=size)
    labels = [{"bright": i % 2 == 0, "left": i % 3 == 0} for i in range(count)]
    third = size // 3
    for image, label in zip(sources, labels, strict=True):
        columns = slice(0, third) if label["left"] else slice(2 * third, size)
        image[:third, columns] = 250 if label["bright"] else 5
    images, reals = 255 - sources, sources[:, ::-1]
    fakes, targets = _features(count, FEATURES)
    sets = {"images": fakes, "reals": targets, "sources": targets[::-1]}
    data = Evaluated(
        direction="a2b",
        sources=sources,
        images=images,
        reals=reals,
        truths=sources,
        source_labels=labels,
        target_labelled=LabelledImages(images, labels),
        translate=lambda pictures, direction: 255 - np.asarray(pictures),
        directions=("a2b", "b2a"),
        features_of=sets.__getitem__,
        resamples=resampling.draw(0, count),
        resamples_of_reals=resampling.draw(0, count, stream=resampling.REALS),
    )
    assert len(data.back) == count  # translated before anything is timed
    return data


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
    every: Annotated[int, typer.Option(help="images for the pass of every metric; 0: none")] = 1000,
    sizes: Annotated[str, typer.Option(help="of those images, pixels")] = "64,256",
    out: Annotated[Path | None, typer.Option(help="JSON, one list of rows")] = None,
) -> None:
    """Time clean-fid's metrics and ours in turn, then each of ours and the pass of the features."""
    if threads:
        torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        found = [
            frechet(rows, dim, rounds),
            kernel(rows, dim, rounds),
            feature_pass(Path(folder), images, rounds),
        ]
    _print_against_clean_fid(found)
    for size in map(int, sizes.split(",")) if every else ():
        timed = against_features(size, every, rounds)
        _print_against_features(timed)
        found += timed
    write_rows(found, out)


def _print_against_clean_fid(found: list[dict[str, Any]]) -> None:
    metric = Column("metric", no_wrap=True)
    table = Table(metric, "equal", "ratio", "spread", "ms", title="clean-fid / ours")
    for row in found:
        table.add_row(
            row["metric"],
            f"{'yes' if row['equal'] else 'NO'} ({row['deviation']:.0e})",
            f"{row['ratio_median']:.1f}",
            f"{row['ratio_min']:.1f} - {row['ratio_max']:.1f}",
            f"{1e3 * row['baseline_seconds']:.1f} / {1e3 * row['seconds']:.1f}",
        )
    Console().print(table)


def _print_against_features(timed: list[dict[str, Any]]) -> None:
    first = timed[0]
    title = f"pass of the features / metric, {first['images']} images of {first['size']} px"
    table = Table(Column("metric", no_wrap=True), "ratio", "spread", "s", title=title)
    for row in sorted(timed, key=lambda row: row["ratio_median"]):
        table.add_row(
            row["metric"],
            f"{row['ratio_median']:.1f}",
            f"{row['ratio_min']:.1f} - {row['ratio_max']:.1f}",
            f"{row['feature_seconds']:.2f} / {row['seconds']:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    app()
