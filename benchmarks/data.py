"""The input pipeline against a plain one: `python -m benchmarks.data --help`.

All pipelines run in this process, without workers, in turn, on the same generated files. The plain
one is a data set of torchvision transforms, as published code has it: decode, resize, crop, flip,
convert, normalise, image by image, every time.
"""

import io
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.timing import (
    alternate,
    clock_named,
    machine,
    median_seconds,
    ratio,
    write_rows,
)
from zoo.data.folders import UnpairedFolders
from zoo.data.loader import training_batches
from zoo.registry import UserError
from zoo.schema import Cache

BUSY = 1.2  # the largest ratio over the smallest
Batches = Iterator[Any]


def picture(seed: int, side: int) -> Image.Image:
    """Something of a photograph's detail: smooth colours, and noise at every scale."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side, 3))
    for cells in (4, 16, 64, side):
        noise = rng.normal(size=(cells, cells, 3)) * 40 / cells**0.4
        small = Image.fromarray(np.clip(noise + 128, 0, 255).astype(np.uint8))
        total += np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), float) - 128
    return Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))


def write_set(root: Path, kind: str, count: int, side: int) -> int:
    """Folders trainA and trainB with `count` files each; returns the mean bytes of a file."""
    sizes = []
    for number, folder in enumerate(("trainA", "trainB")):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            encoded = io.BytesIO()
            image = picture(number * count + index, side)
            image.save(encoded, "JPEG" if kind == "jpg" else "PNG", quality=90)
            (root / folder / f"{index:04d}.{kind}").write_bytes(encoded.getvalue())
            sizes.append(encoded.tell())
    return round(statistics.mean(sizes))


def published(root: Path, size: int, load_size: int, batch: int, device: str) -> Batches:
    """Batches of a data set of torchvision transforms."""
    from torchvision import transforms as T

    change = T.Compose(
        [
            T.Resize([load_size, load_size], T.InterpolationMode.BICUBIC),
            T.RandomCrop(size),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    sides = [sorted((root / folder).iterdir()) for folder in ("trainA", "trainB")]

    def load(path: Path) -> Tensor:
        with Image.open(path) as image:
            return change(image.convert("RGB"))

    yield from _in_batches(load, sides, batch, device)


def one_by_one(data: UnpairedFolders, size: int, batch: int, device: str) -> Batches:
    """Decoded images out of our cache, but the same transforms image by image."""
    from torchvision import transforms as T

    change = T.Compose(
        [
            T.ToPILImage(),
            T.RandomCrop(size),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    domains = [data.domain("train", side) for side in "ab"]
    sides = [[(domain, index) for index in range(len(domain))] for domain in domains]
    yield from _in_batches(lambda item: change(item[0][item[1]]), sides, batch, device)


def _in_batches(load: Callable, sides: list[list], batch: int, device: str) -> Batches:
    step = 0
    while True:
        numbers = range(step * batch, (step + 1) * batch)
        yield [
            torch.stack([load(side[n % len(side)]) for n in numbers]).to(device) for side in sides
        ]
        step += 1


def ours(data: UnpairedFolders, batch: int, device: str) -> Batches:
    """The batches that training gets."""
    return training_batches(
        data, data.config, seed=0, batch=batch, steps=range(10**9), device=torch.device(device)
    )


def dataset(root: Path, size: int, cache: Cache | str) -> UnpairedFolders:
    """The folders as a data set of ours, without workers."""
    config = UnpairedFolders.Config(root=str(root), size=size, workers=0, cache=cache)
    return UnpairedFolders(config)


def measure(
    kind: str,
    side: int,
    size: int,
    batch: int,
    count: int,
    rounds: int,
    steps: int,
    device: str,
    clock: str = "wall",
) -> list[dict[str, Any]]:
    """The rows of one kind of file.

    Args:
        kind: jpg or png.
        side: of the files, pixels.
        size: that networks see; images are loaded at 286/256 of it.
        batch: pairs a step.
        count: files in each of two folders.
        rounds: of timings in turn.
        steps: batches taken for one timing.
        device: where the batches go.
        clock: "wall", or "cpu" for the processor's time.
    """
    seconds_of = clock_named(clock, device)
    with tempfile.TemporaryDirectory() as temporary:
        root, cache = Path(temporary) / "set", Cache(folder=f"{temporary}/cache")
        nbytes = write_set(root, kind, count, side)
        start = seconds_of()
        kept = dataset(root, size, cache)
        for name in "ab":
            kept.domain("train", name)
        once = seconds_of() - start
        start = seconds_of()
        for name in "ab":
            dataset(root, size, cache).domain("train", name)
        again = seconds_of() - start
        load_size = kept.config.resolved_load_size
        pipelines = {
            "published": published(root, size, load_size, batch, device),
            "decoded each time": ours(dataset(root, size, "off"), batch, device),
            "cached, one by one": one_by_one(kept, size, batch, device),
            "cached": ours(kept, batch, device),
        }
        actions = [_taking(batches, steps, device) for batches in pipelines.values()]
        for action in actions:
            action()  # warm
        times = alternate(actions, rounds, seconds_of)
    images = 2 * batch * steps
    rows = []
    for position, name in enumerate(pipelines):
        median, least, most = ratio(times, 0, position)
        rows.append(
            {
                "pipeline": name,
                "file": kind,
                "file_side": side,
                "file_bytes": nbytes,
                "size": size,
                "batch": batch,
                "images_per_s": images / median_seconds(times, position),
                "ratio_median": median,
                "ratio_min": least,
                "ratio_max": most,
                "fill_s_per_image": once / (2 * count) if name == "cached" else None,
                "open_s_per_image": again / (2 * count) if name == "cached" else None,
                "threads": torch.get_num_threads(),
                "clock": clock,
                **machine(device),
            }
        )
    return rows


def _taking(batches: Batches, steps: int, device: str) -> Callable[[], None]:
    def action() -> None:
        for _ in range(steps):
            next(batches)
        if device != "cpu":
            torch.cuda.synchronize()

    return action


def table(rows: list[dict[str, Any]]) -> Table:
    """What people look at first."""
    found = Table("file", "pipeline", "images/s", "ms an image", "ratio", "from", "to")
    for row in rows:
        found.add_row(
            row["file"],
            row["pipeline"],
            f"{row['images_per_s']:.0f}",
            f"{1000 / row['images_per_s']:.3f}",
            *(f"{row[f'ratio_{key}']:.2f}" for key in ("median", "min", "max")),
        )
    return found


app = typer.Typer(add_completion=False)


@app.command()
def main(
    files: Annotated[str, typer.Option(help="kinds of files, with commas: jpg, png")] = "jpg,png",
    side: Annotated[int, typer.Option(help="of the files, pixels")] = 512,
    size: Annotated[int, typer.Option(help="that networks see, pixels")] = 256,
    batch: Annotated[int, typer.Option(help="pairs a step")] = 4,
    count: Annotated[int, typer.Option(help="files in each of two folders")] = 32,
    rounds: Annotated[int, typer.Option(help="of timings in turn")] = 10,
    steps: Annotated[int, typer.Option(help="batches taken for one timing")] = 4,
    threads: Annotated[int, typer.Option(help="0: as torch chooses")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    clock: Annotated[
        str, typer.Option(help="wall, or cpu: the processor's time, for a busy machine, one thread")
    ] = "wall",
    out: Annotated[Path | None, typer.Option(help="JSON, one list of rows")] = None,
) -> None:
    """Time a plain input pipeline and ours in turn."""
    console = Console(width=120 if not Console().is_terminal else None)
    if threads:
        torch.set_num_threads(threads)
    try:
        clock_named(clock, device)
    except UserError as error:
        console.print(f"[bold red]error:[/] {error}", soft_wrap=True)
        raise typer.Exit(2) from error
    rows = []
    for kind in files.split(","):
        rows += measure(kind, side, size, batch, count, rounds, steps, device, clock)
        write_rows(rows, out)
    console.print(f"{rows[0]['device']}, {rows[0]['threads']} threads, torch {rows[0]['torch']}")
    console.print(table(rows))
    for row in rows:
        if row["pipeline"] == "cached":
            console.print(
                f"{row['file']}: {1000 * row['fill_s_per_image']:.2f} ms an image to fill the "
                f"cache, {1000 * row['open_s_per_image']:.2f} ms to find it again"
            )
    spread = [row["ratio_max"] / row["ratio_min"] for row in rows[1:]]
    if statistics.median(spread) > BUSY:
        console.print("The rounds differ much: this machine is busy with something else, too.")


if __name__ == "__main__":
    app()
