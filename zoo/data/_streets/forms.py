"""Flat forms in space, and all of them at once as polygons of a picture."""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.data._cityscapes import TRAIN_ID
from zoo.data._streets.scene import Scene
from zoo.data._toonfaces.raster import Color

Corner = tuple[float, float, float]  # X, Y, Z in metres
_TURN = [i * math.pi / 10 for i in range(20)]
CIRCLE = [(math.cos(turn), math.sin(turn)) for turn in _TURN]


class Form(NamedTuple):
    """One polygon in space.

    Attributes:
        corners: in metres.
        color: of its surface.
        label: train id; None where only the photo shows it, as a window of a building.
        depth: in metres, for the haze.
        light: that falls on it.
    """

    corners: list[Corner]
    color: Color
    label: int | None
    depth: float
    light: float


class Painter:
    """Collects the forms of a scene in the order in which they cover one another.

    Attributes:
        forms: the farthest first.
        front: light on a surface that faces the camera.
        sides: light on what stands left (-1) and right (1) of the street and faces it.
        haze: what far things fade to, also the sky's colour at the horizon.
    """

    def __init__(self, scene: Scene):
        self.scene = scene
        self.forms: list[Form] = []
        self.front = 0.78 + 0.04 * scene.sun
        self.sides = {
            side: 0.72 + scene.sun * (-0.2 if side == scene.sun_side else 0.36) for side in (-1, 1)
        }
        grey = 1 - scene.sun
        self.haze = (
            0.74 * scene.sun + 0.78 * grey, 0.82 * scene.sun + 0.79 * grey,
            0.90 * scene.sun + 0.80 * grey,
        )  # fmt: skip

    def add(
        self, corners: list[Corner], color: Color, label: str | None, depth: float, light: float
    ) -> None:
        """Add any polygon."""
        train_id = None if label is None else TRAIN_ID[label]
        self.forms.append(Form(corners, color, train_id, depth, light))

    def flat(
        self,
        corners: Sequence[tuple[float, float]],
        z: float,
        color: Color,
        label: str | None,
        light: float | None = None,
    ) -> None:
        """Add a polygon that faces the camera, corners (X, Y)."""
        lit = self.front if light is None else light
        self.add([(x, y, z) for x, y in corners], color, label, z, lit)

    def rectangle(
        self, left: float, right: float, low: float, high: float, z: float, color: Color,
        label: str | None, light: float | None = None,
    ) -> None:  # fmt: skip
        """Add a rectangle that faces the camera."""
        corners = ((left, low), (left, high), (right, high), (right, low))
        self.flat(corners, z, color, label, light)

    def disc(
        self, x: float, y: float, z: float, rx: float, ry: float, color: Color, label: str | None,
        light: float | None = None,
    ) -> None:  # fmt: skip
        """Add an ellipse that faces the camera."""
        self.flat([(x + rx * c, y + ry * s) for c, s in CIRCLE], z, color, label, light)

    def upright(
        self, x: float, near: float, far: float, low: float, high: float, color: Color,
        label: str | None,
    ) -> None:  # fmt: skip
        """Add a rectangle along the street, facing it."""
        corners = [(x, low, near), (x, high, near), (x, high, far), (x, low, far)]
        self.add(corners, color, label, (near + far) / 2, self.sides[-1 if x < 0 else 1])

    def lying(
        self, left: float, right: float, near: float, far: float, color: Color,
        label: str | None, y: float = 0.0,
    ) -> None:  # fmt: skip
        """Add a level rectangle."""
        corners = [(left, y, near), (right, y, near), (right, y, far), (left, y, far)]
        self.add(corners, color, label, (near + far) / 2, 1.0)

    def box(
        self, left: float, right: float, low: float, high: float, near: float, far: float,
        color: Color, label: str | None,
    ) -> None:  # fmt: skip
        """Add the visible faces of a box: towards the street's middle, above, to the camera."""
        if right < 0 or left > 0:
            self.upright(right if right < 0 else left, near, far, low, high, color, label)
        if high < self.scene.camera.height:
            self.lying(left, right, near, far, color, label, y=high)
        self.rectangle(left, right, low, high, near, color, label)

    def within(self, corners: list[Corner], share: float, color: Color, light: float) -> None:
        """Add a smaller copy of a polygon on it, seen in the photo only."""
        x, y, z = (sum(values) / len(corners) for values in zip(*corners, strict=True))
        inner = [(x + (a - x) * share, y + (b - y) * share, z + (c - z) * share)
                 for a, b, c in corners]  # fmt: skip
        self.add(inner, color, None, z, light)

    def seen(self) -> NDArray[np.float64]:
        """The corners of all forms, one after the other, in fractions of the picture (n, 2)."""
        camera = self.scene.camera
        corners = chain.from_iterable(form.corners for form in self.forms)
        values = np.fromiter(chain.from_iterable(corners), np.float64)
        x, y, z = values.reshape(-1, 3).T
        scale = camera.focal / z
        return np.stack([camera.x + scale * x, camera.horizon + scale * (camera.height - y)], 1)

    def levels(self) -> NDArray[np.uint8]:
        """The colour of every form, in its light and through the haze, (forms, 3)."""
        rows = np.array([(*form.color, form.depth, form.light) for form in self.forms])
        color, depth, light = rows[:, :3], rows[:, 3:4], rows[:, 4:]
        clear = 1 / (1 + self.scene.haze * depth)  # in place of exp(-x), which processors round
        color = color * light * clear + np.array(self.haze) * (1 - clear)
        return (np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8)


def panes(
    painter: Painter, x: float, spans: Sequence[tuple[float, float, float, float]],
    color_of: Callable[[int], Color],
) -> None:  # fmt: skip
    """Add many rectangles along the street, (near, far, low, high) each, in the photo only."""
    for i, (near, far, low, high) in enumerate(spans):
        painter.upright(x, near, far, low, high, color_of(i), None)
