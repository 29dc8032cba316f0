"""Pictures of the report: the same test images through every run, as embedded thumbnails."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval._report.runs import RunData
from eval._report.tables import DIRECTIONS, data_label
from eval.runner import output_names
from eval.scores import RUN
from zoo.images import ImageError, printable, read_image, resize, to_tensor, to_uint8
from zoo.protocols import Domain

THUMBNAIL = 160  # largest side in pixels
UNREADABLE = "has data that cannot be read for the grids"
LARGEST_PNG = 96  # larger thumbnails are JPEGs
SOURCE = {"a2b": "a", "b2a": "b"}  # the side that a direction starts from


@dataclass
class Column:
    """One column of a grid."""

    heading: str
    colour: int | None
    pictures: list[str | None]  # data URIs


@dataclass
class Grid:
    """The same test images through several runs."""

    title: str
    direction: str
    names: list[str]
    columns: list[Column] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """The data set and the direction."""
        return f"{self.title} · {DIRECTIONS[self.direction]}"


def thumbnail(image: np.ndarray) -> str:
    """Encode anew as a small PNG or JPEG in a data URI.

    Args:
        image: uint8 H W C with 1 or 3 channels.
    """
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return _encoded(picture, "PNG" if max(picture.size) <= LARGEST_PNG else "JPEG")


def _encoded(picture: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {"optimize": True}))
    data = base64.b64encode(buffer.getbuffer()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{data}"


def sample_grid(run: RunData, width: int = 1000) -> str | None:
    """The newest readable grid that training drew, as a JPEG of at most `width` pixels."""
    folder = run.folder / "samples"
    for path in sorted(folder.glob("*.png"), reverse=True):
        try:
            image = read_image(path)
        except ImageError as error:
            run.warnings.append(f"has a sample grid that cannot be read ({error}).")
            continue
        picture = Image.fromarray(image)
        picture.thumbnail((width, 10 * width), Image.Resampling.LANCZOS)
        return _encoded(picture, "JPEG")
    return None


def grids(runs: Sequence[RunData], num_images: int) -> list[Grid]:
    """Grids for every data set and direction; what cannot be shown becomes a run's warning.

    A run translates with the weights and the checkpoint of its scores, the latest of two. Where it
    cannot, the files of its last evaluation are shown.
    """
    found = []
    for key in dict.fromkeys(run.data_key for run in runs):
        members = [(i, run) for i, run in enumerate(runs) if run.data_key == key]
        loaded = {i: _Loaded(run) for i, run in members}
        for direction in DIRECTIONS:
            grid = _grid(direction, members, loaded, num_images)
            if grid is not None:
                found.append(grid)
    return found


class _Loaded:
    """A run's networks and data, as far as they can be had."""

    def __init__(self, run: RunData):
        self.run = run
        self.size = 0
        self.sources: dict[str, Domain] = {}  # by direction
        self.truths: dict[str, Domain | None] = {}
        self.translator = self.attempt(self._load, "cannot translate for the grids")
        self.attempt(self._build, UNREADABLE)

    def attempt(self, get: Callable[[], Any], complaint: str) -> Any:
        """What `get` returns, or None with a warning."""
        try:
            return get()
        except Exception as error:  # plug-ins and data of others may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            warning = f"{complaint}: {printable(reason)}"
            if warning not in self.run.warnings:
                self.run.warnings.append(warning)
            return None

    def _load(self) -> Any:
        if not self.run.has_weights:
            return None  # already warned of
        from zoo.translation import load_run

        own = [score for score in self.run.scores if score.translator == RUN]
        weights = next((score.weights for score in own if score.weights), "auto")
        best = bool(own) and all(score.checkpoint == "best" for score in own)
        return load_run(self.run.folder, weights=weights, checkpoint="best" if best else "latest")

    def _build(self) -> None:
        if not self.run.recipe:
            return  # already warned of
        from zoo.recipe import load_recipe

        recipe = load_recipe(self.run.folder / "recipe.yaml")
        self.size = recipe.data.config.size
        data = recipe.data.build()
        self.truths = {direction: data.truth(side) for direction, side in SOURCE.items()}
        self.sources = {direction: data.domain("test", side) for direction, side in SOURCE.items()}

    def source(self, direction: str, name: str) -> np.ndarray | None:
        """A test image at the size of this run."""
        return self._image(self.sources[direction], direction, name)

    def truth(self, direction: str, name: str) -> np.ndarray | None:
        """Its counterpart."""
        return self._image(self.truths[direction], direction, name)

    def _image(self, domain: Domain | None, direction: str, name: str) -> np.ndarray | None:
        names = list(self.sources[direction].names)
        if domain is None or name not in names:
            return None
        return self.attempt(lambda: resize(domain[names.index(name)], self.size), UNREADABLE)

    def files(self, direction: str) -> dict[str, str]:
        """Names of the test images and of the files that evaluation makes of them."""
        names = list(self.sources[direction].names)
        return dict(zip(names, output_names(names), strict=True))

    def translate(
        self, direction: str, image: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None] | None:
        """The translation, and the attention map laid over the image."""
        import torch

        from zoo.layers.cam import heat_colours

        if self.translator is None or direction not in self.translator.directions:
            return None
        x = to_tensor(image)
        with torch.no_grad():
            result = to_uint8(self.translator.translate_batch(x, direction))[0]
            heat = self.translator.heatmap(x, direction)
            if heat is None:
                return result, None
            colours = heat_colours(heat.float().cpu(), *x.shape[2:])
        return result, to_uint8((x + colours) / 2)[0]


def _grid(
    direction: str,
    members: list[tuple[int, RunData]],
    loaded: dict[int, _Loaded],
    num_images: int,
) -> Grid | None:
    with_data = [index for index, _ in members if loaded[index].sources]
    title = " and ".join(dict.fromkeys(data_label(run) for _, run in members))
    if not with_data:
        return _from_files_only(title, direction, members, num_images)
    first = loaded[with_data[0]]
    files = first.files(direction)
    folders = [run.folder / "translated" / direction for _, run in members]
    scored = [name for name in files if any((f / files[name]).is_file() for f in folders)]
    names = evenly(scored or list(files), num_images)
    sources = [first.source(direction, name) for name in names]
    truths = [first.truth(direction, name) for name in names]
    grid = Grid(title, direction, names, [_column("source", None, sources)])
    for index, run in members:
        results, maps = [], []
        for name in names:
            image, heat = _live(loaded[index], direction, name) or (None, None)
            if image is None:
                image = _from_file(run.folder / "translated" / direction / files[name])
            results.append(image)
            maps.append(heat)
        if any(image is not None for image in results):
            grid.columns.append(_column(run.name, index, results))
        if any(image is not None for image in maps):
            grid.columns.append(_column(f"{run.name} · CAM", index, maps))
    if any(image is not None for image in truths):
        grid.columns.append(_column("truth", None, truths))
    return grid if any(column.colour is not None for column in grid.columns) else None


def _live(
    loaded: _Loaded, direction: str, name: str
) -> tuple[np.ndarray, np.ndarray | None] | None:
    if loaded.translator is None or not loaded.sources:
        return None
    source = loaded.source(direction, name)
    if source is None:
        return None
    complaint = "cannot translate for the grids"
    return loaded.attempt(lambda: loaded.translate(direction, source), complaint)


def _from_file(path: Path) -> np.ndarray | None:
    try:
        return read_image(path) if path.is_file() else None
    except ImageError:
        return None


def _from_files_only(
    title: str, direction: str, members: list[tuple[int, RunData]], num_images: int
) -> Grid | None:
    """What the last evaluations left, without sources, as the data are not here."""
    folders = {index: run.folder / "translated" / direction for index, run in members}
    names = evenly(sorted({p.name for f in folders.values() for p in f.glob("*.png")}), num_images)
    columns = [
        _column(run.name, index, [_from_file(folders[index] / name) for name in names])
        for index, run in members
    ]
    return Grid(title, direction, names, columns) if names else None


def evenly(names: Sequence[str], count: int) -> list[str]:
    """At most `count` of the names, evenly spaced."""
    count = min(count, len(names))
    return [names[i * len(names) // count] for i in range(count)]


def _column(heading: str, colour: int | None, images: Sequence[np.ndarray | None]) -> Column:
    return Column(heading, colour, [None if i is None else thumbnail(i) for i in images])
