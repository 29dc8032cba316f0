"""Grids of a comparison: the same test images through every run, as small embedded pictures.

They are read from the files that `zoo eval` wrote and scored. Which of a run's test images belong
together is told by their names, so all runs must have been scored on the same ones.
"""

import base64
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from eval._compare.reading import ReadRun
from eval.comparison import Comparison
from eval.runner import output_names
from eval.scorer import SIDES
from zoo.images import ImageError, printable, read_image, resize
from zoo.protocols import DataSet
from zoo.registry import UserError

log = logging.getLogger("eval.compare")

THUMBNAIL = 96  # largest side in pixels
QUALITY = 82  # of WebP


def add_pictures(made: Comparison, runs: Sequence[ReadRun], count: int) -> None:
    """Fill `sources` and `truths`, and `pictures` of the runs that are done.

    Args:
        made: has tasks.
        runs: all.
        count: test images for each task, evenly spaced.
    """
    for task in made.tasks:
        done = [
            run
            for run in runs
            if run.facts.state == "done" and task in run.facts.tasks.values() and _folder(run, task)
        ]
        if not done:
            continue
        direction = _direction(done[0], task)
        try:
            dataset = done[0].item.run.recipe.data.build()
            names = _chosen(dataset, direction, _folder(done[0], task), count)
            size = done[0].item.run.recipe.data.config.size
            made.sources[task] = _of_data(dataset, "test", direction, names, size)
            made.truths[task] = _of_data(dataset, "truth", direction, names, size)
        except Exception as error:  # data of others may raise anything
            made.warnings.append(f"{task}: no pictures, as its test images cannot be read: {error}")
            continue
        if not made.truths[task]:
            del made.truths[task]
        for run in done:
            _add_translations(run, task, names)


def _direction(run: ReadRun, task: str) -> str:
    return next(d for d, t in run.facts.tasks.items() if t == task)


def _folder(run: ReadRun, task: str) -> Path | None:
    folder = run.item.folder / "translated" / _direction(run, task)
    return folder if folder.is_dir() else None


def _chosen(dataset: DataSet, direction: str, folder: Path | None, count: int) -> list[str]:
    """Names of test images that were translated, as an evaluation may take some of them only."""
    names = dataset.domain("test", SIDES[direction][0]).names
    if folder is not None:
        made = output_names(names)
        names = [n for n, out in zip(names, made, strict=True) if (folder / out).is_file()]
    count = min(count, len(names))
    return [names[i * len(names) // count] for i in range(count)]


def _of_data(
    dataset: DataSet, what: str, direction: str, names: Sequence[str], size: int
) -> list[str]:
    """Thumbnails of test images of a direction's source, or of their counterparts if known."""
    side = SIDES[direction][0]
    domain = dataset.domain("test", side) if what == "test" else dataset.truth(side)
    if domain is None:
        return []
    places = {name: i for i, name in enumerate(dataset.domain("test", side).names)}
    return [thumbnail(resize(domain[places[name]], size)) for name in names]


def _add_translations(run: ReadRun, task: str, names: Sequence[str]) -> None:
    folder = _folder(run, task)
    assert folder is not None
    try:
        pictures = [thumbnail(read_image(folder / name)) for name in output_names(names)]
    except (ImageError, UserError, OSError) as error:
        run.facts.warnings.append(f"{task}: no pictures: {printable(str(error))}")
        return
    run.facts.pictures[task] = pictures


def thumbnail(image: np.ndarray) -> str:
    """A small WebP in a data URL, encoded anew.

    Args:
        image: uint8 H W C with 1 or 3 channels.
    """
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getbuffer()).decode("ascii")
