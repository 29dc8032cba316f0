"""What a run writes for people: metrics.jsonl, the progress line, sample grids, TensorBoard."""

import contextlib
import importlib.util
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.images import grid, to_uint8, write_image
from zoo.method import Method
from zoo.protocols import Batch
from zoo.registry import UserError

_WAITING_SHOWN = 0.05  # share of the time from which the progress line tells of it


class RunLog:
    """Writes a run's metrics and shows its progress; on processes other than the first, nothing.

    Args:
        run: run folder.
        total_images: images that the run will see.
        images_seen: images seen when it starts, more than 0 after a resume. Later lines of
            metrics.jsonl are dropped, as the run is about to write them again.
        enabled: False on all processes but the first.
    """

    def __init__(self, run: Path, total_images: int, images_seen: int, enabled: bool):
        self.run, self.enabled = run, enabled
        self.file = run / "metrics.jsonl"
        self._started, self._first_image = time.monotonic(), images_seen
        self._seconds_before = 0.0
        self._waited, self._waited_since = 0.0, self._started
        if not enabled:
            return
        self._seconds_before = _drop_lines_after(self.file, images_seen)
        self._tensorboard = _tensorboard_writer(run, images_seen)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} images"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[terms]}"),
            console=Console(stderr=True),
            refresh_per_second=2,
        )
        self._task = self._progress.add_task(
            run.name, total=total_images, completed=images_seen, speed="", terms=""
        )
        self._progress.start()

    def waiting(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, with a clock on how long each one is waited for."""
        iterator = iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(iterator, None)
            self._waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def step(self, images_seen: int) -> None:
        """Move the progress line; nothing is written."""
        if self.enabled:
            self._progress.update(self._task, completed=images_seen)

    def training(self, images_seen: int, step: int, line: dict) -> None:
        """One training line: learning rates, raw and weighted terms, totals, speed, memory.

        Args:
            images_seen: images seen so far.
            step: steps done so far.
            line: "lr", "terms", "weighted", "total", each a dict of numbers.
        """
        if not self.enabled:
            return
        now = time.monotonic()
        seconds = now - self._started
        waiting = self._waited / max(now - self._waited_since, 1e-9)
        self._waited, self._waited_since = 0.0, now
        speed = (images_seen - self._first_image) / max(seconds, 1e-9)
        self._write(
            {
                "images": images_seen,
                "step": step,
                "seconds": round(self._seconds_before + seconds, 3),
                "images_per_s": round(speed, 3),
                "waiting": round(waiting, 4),
                "peak_bytes": peak_bytes(),
                **line,
            }
        )
        if self._tensorboard is not None:
            for group in ("terms", "weighted", "total", "lr"):
                for key, value in line[group].items():
                    self._tensorboard.add_scalar(f"{group}/{key}", value, images_seen)
        terms = " ".join(f"{name} {value:.3g}" for name, value in line["total"].items())
        words = f"{speed:.1f} images/s"
        if waiting > _WAITING_SHOWN:
            words += f", {waiting:.0%} of the time waiting for data"
        self._progress.update(self._task, speed=words, terms=terms)

    def scores(self, images_seen: int, scores: dict[str, float]) -> None:
        """One line of scores measured during training."""
        if not self.enabled:
            return
        self._write({"images": images_seen, "scores": scores})
        if self._tensorboard is not None:
            for key, value in scores.items():
                self._tensorboard.add_scalar(f"scores/{key}", value, images_seen)
        self._progress.console.print(
            f"{images_seen} images: " + ", ".join(f"{k} {v:.4g}" for k, v in scores.items())
        )

    @torch.no_grad()
    def samples(self, images_seen: int, method: Method, batch: Batch) -> None:
        """A grid of fixed test images: source, translated, back again, CAM map.

        Args:
            images_seen: images seen so far.
            method: in evaluation mode.
            batch: of `zoo.translation.fixed_test_images`.
        """
        if not self.enabled:
            return
        columns = {name: to_uint8(images) for name, images in method.pictures(batch).items()}
        rows = [list(images) for images in zip(*columns.values(), strict=True)]
        file = self.run / "samples" / f"{images_seen:09d}.png"
        with _told(file):
            write_image(file, grid(rows, labels=list(columns)))

    def close(self) -> None:
        """Stop the progress line and flush what is buffered."""
        if not self.enabled:
            return
        self._progress.stop()
        if self._tensorboard is not None:
            self._tensorboard.close()

    def _write(self, line: dict) -> None:
        with _told(self.file), self.file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def peak_bytes() -> int | None:
    """The most memory that this process has held: of its GPU if it uses one, else of the machine.

    Linux's own count per program is asked first: what `getrusage` tells of a program that another
    one has started is at least the size of that one. None where the system tells neither.
    """
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    with contextlib.suppress(OSError, ValueError, LookupError):
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    """A full disk and the like end the run with a message instead of a traceback."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error


def _drop_lines_after(file: Path, images_seen: int) -> float:
    """Keep the lines up to `images_seen`; the seconds that training had taken by then."""
    if not file.is_file():
        return 0.0
    kept, seconds = [], 0.0
    for text in file.read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break  # the line that was being written when the run was cut
        if line["images"] > images_seen:
            break
        kept.append(text)
        seconds = line.get("seconds", seconds)
    aside = file.with_name(f".{file.name}.unfinished")
    aside.write_text("".join(text + "\n" for text in kept))
    aside.replace(file)
    return seconds


def _tensorboard_writer(run: Path, images_seen: int):
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    # What an earlier process wrote after the checkpoint that the run goes on from is hidden.
    return SummaryWriter(str(run / "tensorboard"), purge_step=images_seen + 1)
