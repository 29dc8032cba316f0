"""A street as a mask of train ids and as a photo.

Both are filled polygons on a canvas some times the size of the picture. The mask looks at the
class of each sample; the photo averages their colours, then adds light, texture and a camera.
"""

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from zoo.data._cityscapes import IGNORE, TRAIN_ID
from zoo.data._streets.backdrop import (
    paint_blocks,
    paint_bonnet,
    paint_end,
    paint_ground,
    paint_shadows,
)
from zoo.data._streets.forms import Painter
from zoo.data._streets.scene import Scene
from zoo.data._streets.things import paint_things
from zoo.data._toonfaces.raster import to_bytes

Field = NDArray[np.float32]  # H W, or H W 3

_AGREE = 0.75  # share of a pixel that one class must cover, else it is ignored
# How much the surface of a class varies in brightness, in 255ths.
_ROUGH = {
    "vegetation": 150, "terrain": 100, "road": 40, "sidewalk": 46, "building": 34, "wall": 40,
    "fence": 50,
}  # fmt: skip
_GROUND = ("road", "sidewalk", "terrain")


def render_ids(scene: Scene, size: int) -> NDArray[np.uint8]:
    """Return the class at the middle of every pixel, uint8 size x size; 255 for the bonnet."""
    factor = factor_of(size)
    return _classes(scene, size)[factor // 2 :: factor, factor // 2 :: factor]


def render_mask(scene: Scene, size: int) -> NDArray[np.uint8]:
    """Return `render_ids`, with 255 also where no class covers 3/4 of a pixel."""
    factor = factor_of(size)
    samples = _classes(scene, size)
    middle = samples[factor // 2 :: factor, factor // 2 :: factor]
    blocks = samples.reshape(size, factor, size, factor)
    agree = (blocks == middle[:, None, :, None]).sum((1, 3))
    return np.where(agree >= _AGREE * factor**2, middle, IGNORE).astype(np.uint8)


def render_photo(scene: Scene, size: int) -> NDArray[np.uint8]:
    """Draw a street in the style of a photo.

    Args:
        scene: what to draw.
        size: side of the picture in pixels, at least 16.

    Returns:
        uint8 array, size x size x 3.
    """
    painter = painted(scene)
    side = size * factor_of(size)
    paths = paths_of(painter, side)
    canvas = Image.new("RGB", (side, side), to_bytes(painter.haze))
    pen = ImageDraw.Draw(canvas)
    for path, color in zip(paths, painter.levels().tolist(), strict=True):
        pen.polygon(path, fill=tuple(color))
    samples = samples_of(painter, paths, side)
    look = np.random.default_rng([scene.seed, scene.index, 2])
    picture = _unit(np.asarray(canvas.reduce(factor_of(size))))
    ground = share_of(samples, _GROUND, size)
    texture = 1 + _texture(scene, samples, ground, look)
    picture = picture * (texture * (1 - 0.55 * ground * _shadows(scene, size)))[..., None]
    sky = share_of(samples, ("sky",), size)
    picture += sky[..., None] * (
        _sky(scene, painter, size, look) - np.array(painter.haze, np.float32)
    )
    return _camera(picture, scene, look)


def factor_of(size: int) -> int:
    """How many samples a pixel has in each direction."""
    return 4 if size <= 128 else 2


def painted(scene: Scene) -> Painter:
    """Return all forms of a street."""
    painter, rng = Painter(scene), np.random.default_rng([scene.seed, scene.index, 1])
    paint_end(painter, rng)
    paint_ground(painter)
    paint_blocks(painter, rng)
    paint_things(painter)
    paint_bonnet(painter)
    return painter


def _classes(scene: Scene, size: int) -> NDArray[np.uint8]:
    painter, side = painted(scene), size * factor_of(size)
    return samples_of(painter, paths_of(painter, side), side)


def samples_of(painter: Painter, paths: list[list[float]], side: int) -> NDArray[np.uint8]:
    """Return the class of every sample of a canvas."""
    image = Image.new("L", (side, side), TRAIN_ID["sky"])
    pen = ImageDraw.Draw(image)
    for path, form in zip(paths, painter.forms, strict=True):
        if form.label is not None:
            pen.polygon(path, fill=form.label)
    return np.asarray(image)


def paths_of(painter: Painter, side: int) -> list[list[float]]:
    """Return the nearest samples to the corners of each form.

    Half a sample lies between its corner and its middle.
    """
    flat = np.rint(painter.seen() * side - 0.5).ravel().tolist()
    ends = list(accumulate(2 * len(form.corners) for form in painter.forms))
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _unit(pixels: NDArray[np.uint8]) -> Field:
    return pixels.astype(np.float32) / np.float32(255)


def _mean(samples: NDArray[np.uint8], levels: dict[str, int], size: int) -> Field:
    """Return the mean over each pixel of a level of its classes, H W in [0, 1]."""
    table = [0] * 256
    for name, level in levels.items():
        table[TRAIN_ID[name]] = level
    return _unit(np.asarray(Image.fromarray(samples).point(table).reduce(factor_of(size))))


def share_of(samples: NDArray[np.uint8], names: tuple[str, ...], size: int) -> Field:
    """Return the share of some classes in each pixel, H W in [0, 1]."""
    return _mean(samples, dict.fromkeys(names, 255), size)


def _noise(rng: np.random.Generator, cells: int, size: int) -> Field:
    """Return smooth noise in [-1, 1], the same at every size."""
    grid = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    return _unit(np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))) * 2 - 1


def _shadows(scene: Scene, size: int) -> Field:
    """Return how much of the sun houses and things keep from the ground, H W in [0, 1]."""
    painter = Painter(scene)
    paint_shadows(painter)
    mask = Image.new("L", (2 * size, 2 * size))
    pen = ImageDraw.Draw(mask)
    for path, share in zip(
        paths_of(painter, mask.width), painter.levels()[:, 0].tolist(), strict=True
    ):
        pen.polygon(path, fill=share)
    return _unit(np.asarray(mask.reduce(2).filter(ImageFilter.GaussianBlur(0.006 * size))))


def _texture(
    scene: Scene, samples: NDArray[np.uint8], ground: Field, rng: np.random.Generator
) -> Field:
    """Return what the brightness of every pixel varies by: leaves, asphalt, plaster."""
    size = len(ground)
    amount = _mean(samples, _ROUGH, size)
    leaves = _noise(rng, 56, size) * 0.55 + _noise(rng, 24, size) * 0.45
    first = min(int(scene.camera.horizon * size), size - 1)  # the row from which ground is seen
    below = leaves[first:]
    below += ground[first:] * (_asphalt(scene, first, size, rng) - below)
    return (amount * leaves).astype(np.float32)


def _asphalt(scene: Scene, first: int, size: int, rng: np.random.Generator) -> Field:
    """Return patches of the ground, in perspective, of the rows from `first` on."""
    camera, ticks = scene.camera, (np.arange(size) + 0.5) / size
    # A pixel below the horizon shows the ground at Z = depth, X = across.
    depth = camera.focal * camera.height / np.maximum(ticks[first:] - camera.horizon, 0.01)
    across = (ticks[None, :] - camera.x) * depth[:, None] / camera.focal
    grid = rng.random((64, 64)) * 2 - 1
    row, column = depth * 0.9, across * 2.5
    top, left = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    down, right = (row - top)[:, None], column - left
    top = top[:, None]

    def at(i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
        return grid[i % 64, j % 64]

    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    near = np.minimum(6 / depth, 1)[:, None]  # far away they are too fine to be seen
    return ((upper * (1 - down) + lower * down) * near).astype(np.float32)


def _sky(scene: Scene, painter: Painter, size: int, rng: np.random.Generator) -> Field:
    clear, grey = np.array([0.30, 0.52, 0.82], np.float32), np.array([0.66, 0.68, 0.71], np.float32)
    zenith = clear * np.float32(scene.sun) + grey * np.float32(1 - scene.sun)
    ticks = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    height = np.clip(1 - ticks / np.float32(scene.camera.horizon), 0, 1)[:, None, None]
    sky = np.array(painter.haze, np.float32) * (1 - height) + zenith * height
    sky = np.broadcast_to(sky, (size, size, 3))
    shape = _noise(rng, 5, size) + 0.6 * _noise(rng, 11, size) + 0.35 * _noise(rng, 23, size)
    cover = np.clip(shape * 1.4 + np.float32(0.35 - 0.5 * scene.sun), 0, 1)[..., None]
    white = np.array([0.95, 0.95, 0.95], np.float32) - np.float32(0.2 * (1 - scene.sun))
    return sky * (1 - cover * np.float32(0.75)) + white * cover * np.float32(0.75)


def _camera(picture: Field, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture through a lens and a noisy sensor, as uint8 H W 3."""
    size = len(picture)
    warm = np.array([1 + 0.05 * scene.warmth, 1.0, 1 - 0.06 * scene.warmth], np.float32)
    ticks = np.linspace(-1, 1, size, dtype=np.float32)
    vignette = 1 - 0.12 * (ticks[None, :] ** 2 + ticks[:, None] ** 2)
    exposed = picture * warm * vignette[..., None] * np.float32(scene.exposure)
    sharp = Image.fromarray((np.clip(exposed, 0, 1) * 255 + 0.5).astype(np.uint8))
    focused = sharp.filter(ImageFilter.GaussianBlur(scene.focus * size))
    # Sums of four bytes are near enough to a normal distribution, and integers everywhere.
    grain = rng.integers(0, 256, (4, size, size, 3), dtype=np.uint8).astype(np.int32).sum(0) - 510
    noise = grain * int(scene.noise * 14) // 256
    return np.clip(np.asarray(focused, np.int32) + noise, 0, 255).astype(np.uint8)
