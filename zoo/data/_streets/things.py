"""What stands and moves in the street: trees, poles, vehicles and people."""

import numpy as np

from zoo.data._streets.forms import CIRCLE as _TURN
from zoo.data._streets.forms import Corner, Painter, panes
from zoo.data._streets.scene import Thing
from zoo.data._toonfaces.face import scaled
from zoo.data._toonfaces.raster import Color

_GLASS = (0.16, 0.19, 0.22)
_TYRE = (0.05, 0.05, 0.055)
_RED, _WHITE_LAMP = (0.78, 0.08, 0.06), (0.93, 0.92, 0.82)
_SKIN = (0.72, 0.54, 0.42)


def paint_things(painter: Painter) -> None:
    """Paint everything in the street, the farthest first."""
    for thing in painter.scene.things:
        _PAINT[thing.kind](painter, thing)


def _tree(painter: Painter, thing: Thing) -> None:
    x, z, height = thing.x, thing.z, thing.size
    trunk = [(x - 0.17, 0.0), (x - 0.12, height * 0.6), (x + 0.12, height * 0.6), (x + 0.17, 0.0)]
    painter.flat(trunk, z, (0.30, 0.23, 0.17), "vegetation")
    sun = painter.scene.sun_side
    rng = np.random.default_rng([painter.scene.seed, painter.scene.index, int(thing.turn * 1e6)])
    spread = height * 0.26
    for layer, shade in ((0.0, 0.72), (0.12, 0.95), (0.3, 1.2)):
        for _ in range(5):
            dx, dy, r = (rng.random(3) * 2 - 1).tolist()
            radius = spread * (0.62 + 0.2 * r) * (1 - 0.8 * layer)
            painter.disc(
                x + spread * (0.75 * dx + layer * sun),
                height * (0.7 + 0.13 * dy + 0.25 * layer),
                z, radius, radius * 0.9, scaled(thing.color, shade), "vegetation",
            )  # fmt: skip


def _mast(painter: Painter, thing: Thing, width: float) -> None:
    x, z, half = thing.x, thing.z, width / 2
    painter.rectangle(x - half, x + half, 0, thing.size, z, thing.color, "pole")
    edge = x + painter.scene.sun_side * half
    painter.rectangle(x, edge, 0, thing.size, z, scaled(thing.color, 1.35), None)


def _lamp(painter: Painter, thing: Thing) -> None:
    _mast(painter, thing, 0.17)
    inward = -1 if thing.x > 0 else 1
    top, tip = thing.size, thing.x + inward * 1.6
    arm = [(thing.x, top - 0.14), (thing.x, top), (tip, top + 0.14), (tip, top)]
    painter.flat(arm, thing.z, thing.color, "pole")
    painter.rectangle(tip - 0.35, tip + 0.35, top, top + 0.18, thing.z, (0.6, 0.6, 0.58), "pole")


def _sign(painter: Painter, thing: Thing) -> None:
    _mast(painter, thing, 0.13)
    x, z, y, r = thing.x, thing.z, thing.size - 0.3, 0.42
    kind = int(thing.turn * 4)
    if kind == 0:  # a limit: white in a red ring
        painter.disc(x, y, z, r, r, _RED, "traffic sign", light=1)
        painter.disc(x, y, z, r * 0.68, r * 0.68, (0.93, 0.93, 0.93), None, light=1)
    elif kind == 1:  # an order: blue
        painter.disc(x, y, z, r, r, (0.08, 0.26, 0.62), "traffic sign", light=1)
        painter.disc(x, y, z, r * 0.3, r * 0.6, (0.93, 0.93, 0.93), None, light=1)
    elif kind == 2:  # a warning: a triangle
        outer = [(x - r * 1.1, y - r * 0.9), (x, y + r), (x + r * 1.1, y - r * 0.9)]
        inner = [(x - r * 0.62, y - r * 0.6), (x, y + r * 0.5), (x + r * 0.62, y - r * 0.6)]
        painter.flat(outer, z, _RED, "traffic sign", light=1)
        painter.flat(inner, z, (0.93, 0.93, 0.9), None, light=1)
    else:  # priority: a yellow diamond
        for size, color, label in ((1.2, (0.93, 0.93, 0.9), "traffic sign"), (0.85, None, None)):
            reach = r * size
            corners = [(x - reach, y), (x, y + reach), (x + reach, y), (x, y - reach)]
            painter.flat(corners, z, color or (0.92, 0.74, 0.1), label, light=1)


def _light(painter: Painter, thing: Thing) -> None:
    _mast(painter, thing, 0.15)
    x, z, top = thing.x, thing.z, thing.size
    painter.rectangle(x - 0.22, x + 0.22, top - 0.95, top, z, (0.07, 0.08, 0.08), "traffic light")
    lit = int(thing.turn * 3)
    for i, color in enumerate(((0.95, 0.12, 0.08), (0.96, 0.66, 0.1), (0.1, 0.85, 0.42))):
        shade = 1.0 if i == lit else 0.16
        painter.disc(x, top - 0.17 - 0.3 * i, z, 0.12, 0.12, scaled(color, shade), None, light=1)


def _wheels(
    painter: Painter, thing: Thing, half: float, places: tuple[float, ...], radius: float
) -> None:
    """Wheels on the side that is seen, and below the end that is."""
    if abs(thing.x) > half:
        side = thing.x + half if thing.x < 0 else thing.x - half
        for place in places:
            rim: list[Corner] = [
                (side, radius + radius * s, thing.z + place + radius * c) for c, s in _TURN
            ]
            painter.add(rim, _TYRE, thing.kind, thing.z + place, 1.0)
    for side in (-1, 1):
        left, right = sorted((thing.x + side * half, thing.x + side * (half - 0.24)))
        painter.rectangle(left, right, 0, radius, thing.z + 0.05, _TYRE, thing.kind)


def _car(painter: Painter, thing: Thing) -> None:
    x, z, half = thing.x, thing.z, 0.88
    belt = thing.size * 0.6
    _wheels(painter, thing, half, (0.8, 3.4), 0.32)
    painter.box(x - half, x + half, 0.28, belt, z, z + 4.2, thing.color, "car")
    _cabin(painter, thing, half, belt)
    lamp = _RED if x > -1 or thing.facing > 0 else _WHITE_LAMP
    for side in (-1, 1):
        left, right = sorted((x + side * half, x + side * (half - 0.3)))
        painter.rectangle(left, right, belt - 0.24, belt - 0.08, z, lamp, None, light=1)
    painter.rectangle(x - 0.26, x + 0.26, 0.42, 0.53, z, (0.85, 0.85, 0.82), None)
    painter.rectangle(x - half, x + half, 0.28, 0.38, z, scaled(thing.color, 0.5), None)


def _cabin(painter: Painter, thing: Thing, half: float, belt: float) -> None:
    """The upper half of a car: the side that is seen and the rear, with their windows."""
    x, z, top, inner = thing.x, thing.z, thing.size, half - 0.2
    if abs(x) > half:
        side = -1 if x > 0 else 1  # of the car, towards the middle of the street
        door: list[Corner] = [
            (x + side * half, belt, z + 0.25), (x + side * inner, top, z + 0.75),
            (x + side * inner, top, z + 2.6), (x + side * half, belt, z + 3.4),
        ]  # fmt: skip
        painter.add(door, thing.color, "car", z + 1, painter.sides[-side])
        painter.within(door, 0.74, _GLASS, 1.0)
    rear: list[Corner] = [
        (x - half, belt, z + 0.25), (x - inner, top, z + 0.75),
        (x + inner, top, z + 0.75), (x + half, belt, z + 0.25),
    ]  # fmt: skip
    painter.add(rear, thing.color, "car", z, painter.front)
    painter.within(rear, 0.76, _GLASS, 1.0)


def _large(painter: Painter, thing: Thing, length: float, half: float) -> None:
    x, z = thing.x, thing.z
    _wheels(painter, thing, half, (1.2, length - 1.5), 0.48)
    painter.box(x - half, x + half, 0.45, thing.size, z, z + length, thing.color, thing.kind)
    painter.rectangle(x - half, x + half, 0.45, 0.7, z, (0.1, 0.1, 0.1), None)
    for side in (-1, 1):
        left, right = sorted((x + side * half, x + side * (half - 0.22)))
        lamp = _RED if x > -1 else _WHITE_LAMP
        painter.rectangle(left, right, 0.8, 1.1, z, lamp, None, light=1)


def _truck(painter: Painter, thing: Thing) -> None:
    """A lorry: a plain box with doors."""
    _large(painter, thing, 7.0, 1.2)
    for place in (-1.05, -0.03, 0.99):
        seam = thing.x + place
        painter.rectangle(
            seam, seam + 0.06, 0.75, thing.size - 0.1, thing.z, scaled(thing.color, 0.55), None
        )


def _bus(painter: Painter, thing: Thing) -> None:
    """A bus: a band of windows around it."""
    half, x, z, top = 1.25, thing.x, thing.z, thing.size
    _large(painter, thing, 10.0, half)
    painter.rectangle(x - 1.1, x + 1.1, 1.35, top - 0.45, z, _GLASS, None)
    if abs(x) > half:
        side = x - half if x > 0 else x + half
        starts = [z + 0.5 + 1.5 * i for i in range(6)]
        panes(painter, side, [(a, a + 1.2, 1.35, top - 0.5) for a in starts], lambda _: _GLASS)


def _figure(
    painter: Painter, thing: Thing, base: float, clothes: Color, label: str, legs: Color
) -> None:
    """A person with the hips at `base` metres and `thing.size` metres tall in all."""
    x, z, top = thing.x, thing.z, thing.size
    stride = 0.06 + 0.12 * thing.turn
    for side in (-1, 1):
        foot, hip = x + side * stride, x + side * 0.08
        corners = [(foot - 0.07, 0.0), (hip - 0.1, base), (hip + 0.1, base), (foot + 0.07, 0.0)]
        painter.flat(corners, z, scaled(legs, 0.85 if side < 0 else 1), label)
    shoulder = top - 0.3
    torso = [(x - 0.18, base - 0.05), (x - 0.24, shoulder), (x + 0.24, shoulder)]
    painter.flat([*torso, (x + 0.18, base - 0.05)], z, clothes, label)
    shade = [(x, base - 0.05), (x, shoulder), (x - 0.24 * painter.scene.sun_side, shoulder)]
    painter.flat(
        [*shade, (x - 0.18 * painter.scene.sun_side, base - 0.05)], z, scaled(clothes, 0.78), None
    )
    painter.disc(x, top - 0.14, z, 0.12, 0.15, _SKIN, label)
    painter.disc(x, top - 0.08, z, 0.125, 0.1, (0.16, 0.11, 0.08), label)


def _person(painter: Painter, thing: Thing) -> None:
    legs = (0.14, 0.16, 0.24) if thing.turn < 0.6 else (0.35, 0.30, 0.24)
    _figure(painter, thing, thing.size * 0.48, thing.color, "person", legs)


def _cyclist(painter: Painter, thing: Thing) -> None:
    """A rider on a bicycle, seen from behind or before: two wheels in a line, a handlebar."""
    x, z = thing.x, thing.z
    for reach, color in ((0.11, _TYRE), (0.05, (0.3, 0.3, 0.32))):
        painter.disc(x, 0.36, z, reach, 0.36, color, "bicycle")
    frame = [(x - 0.09, 0.4), (x - 0.12, 0.92), (x + 0.12, 0.92), (x + 0.09, 0.4)]
    painter.flat(frame, z, (0.5, 0.12, 0.1), "bicycle")
    for side in (-1, 1):
        leg = [(x + side * 0.2, 0.3), (x + side * 0.1, 0.95)]
        leg += [(x + side * 0.26, 0.95), (x + side * 0.3, 0.3)]
        painter.flat(leg, z, (0.15, 0.16, 0.2), "rider")
    shoulder = thing.size - 0.32
    torso = [(x - 0.2, 0.88), (x - 0.27, shoulder), (x + 0.27, shoulder), (x + 0.2, 0.88)]
    painter.flat(torso, z, thing.color, "rider")
    painter.rectangle(x - 0.32, x + 0.32, 0.98, 1.06, z, (0.1, 0.1, 0.1), "bicycle")
    painter.disc(x, thing.size - 0.17, z, 0.13, 0.16, _SKIN, "rider")
    painter.disc(x, thing.size - 0.09, z, 0.15, 0.11, (0.85, 0.85, 0.88), "rider")


_PAINT = {
    "tree": _tree, "lamp": _lamp, "sign": _sign, "light": _light, "car": _car, "truck": _truck,
    "bus": _bus, "person": _person, "cyclist": _cyclist,
}  # fmt: skip
