"""A street as an old video game would show it: flat, bright colours under an evening sky."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zoo.data._streets.picture import (
    factor_of,
    painted,
    paths_of,
    samples_of,
    share_of,
)
from zoo.data._streets.scene import Scene

_TINT = np.array([0.95, 0.72, 1.15], np.float32)  # of evening light
_SATURATION = np.float32(1.9)
_HORIZON, _ZENITH = (
    np.array([0.98, 0.62, 0.36], np.float32),
    np.array([0.30, 0.14, 0.50], np.float32),
)
_LEVELS = 24  # of each channel, as of a palette


def render_game(scene: Scene, size: int) -> NDArray[np.uint8]:
    """Draw a street in the style of a game: no texture, shadow, haze, noise or blur.

    Args:
        scene: what to draw; light, season and weather change nothing but the colours of surfaces.
        size: side of the picture in pixels, at least 16.

    Returns:
        uint8 array, size x size x 3.
    """
    painter = painted(scene)
    side = size * factor_of(size)
    paths = paths_of(painter, side)
    colors = _evening(np.array([form.color for form in painter.forms], np.float32))
    canvas = Image.new("RGB", (side, side))
    pen = ImageDraw.Draw(canvas)
    for path, color in zip(paths, (colors * 255 + 0.5).astype(np.uint8).tolist(), strict=True):
        pen.polygon(path, fill=tuple(color))
    picture = np.asarray(canvas.reduce(factor_of(size))) / np.float32(255)
    sky = share_of(samples_of(painter, paths, side), ("sky",), size)[..., None]
    picture = picture * (1 - sky) + _sky(scene, size) * sky
    return (np.rint(picture * (_LEVELS - 1)) * (255 / (_LEVELS - 1))).astype(np.uint8)


def _evening(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Surface colours in tinted light, more saturated and brighter, (…, 3) in [0, 1]."""
    lit = colors * _TINT
    grey = lit.mean(-1, keepdims=True)
    return np.sqrt(np.clip(grey + (lit - grey) * _SATURATION, 0, 1)).astype(np.float32)


def _sky(scene: Scene, size: int) -> NDArray[np.float32]:
    """An evening sky, size 1 3."""
    ticks = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    height = np.clip(1 - ticks / np.float32(scene.camera.horizon), 0, 1)[:, None, None]
    return _HORIZON * (1 - height) + _ZENITH * height
