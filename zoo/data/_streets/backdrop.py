"""The street itself: what closes it, the ground, and what stands along both sides."""

import numpy as np

from zoo.data._cityscapes import IGNORE
from zoo.data._streets.forms import Corner, Form, Painter, panes
from zoo.data._streets.scene import FAR, Block, leaf_color
from zoo.data._toonfaces.face import scaled
from zoo.data._toonfaces.raster import Color, ellipse

_NEAR = 0.9  # metres; nearer ground lies below the picture
_WHITE = (0.86, 0.86, 0.83)
_SHARP = 45.0  # metres, up to which windows are drawn


def paint_end(painter: Painter, rng: np.random.Generator) -> None:
    """Paint what closes the street."""
    season = painter.scene.season
    if painter.scene.end == "building":
        x = -70.0
        while x < 70:
            width, height = 8 + 14 * float(rng.random()), 6 + 16 * float(rng.random())
            painter.rectangle(x, x + width, 0, height, FAR, (0.5, 0.47, 0.45), "building")
            x += width
        return
    painter.rectangle(-80, 80, 0, 5, FAR, leaf_color(season, 0.8), "vegetation")
    for place in range(-70, 71, 7):
        radius = 4 + 4 * float(rng.random())
        shade = leaf_color(season, 0.75 + 0.3 * float(rng.random()))
        painter.disc(place, 4.0, FAR, radius, radius, shade, "vegetation")


def paint_ground(painter: Painter) -> None:
    """Paint lawns, sidewalks, road and kerbs, and the markings."""
    scene = painter.scene
    left, right = scene.sides
    grey = scene.asphalt
    painter.lying(-90, 90, _NEAR, 200, leaf_color(scene.season, 0.9), "terrain")
    for side in scene.sides:
        # Without a lawn it is paved up to the houses and behind them.
        reach = side.kerb + side.sidewalk if side.lawn else 60.0
        inner, outer = sorted((side.side * side.kerb, side.side * reach))
        painter.lying(inner, outer, _NEAR, 200, (0.56, 0.54, 0.51), "sidewalk")
    for near, far in ((_NEAR, 12.0), (12.0, 30.0), (30.0, 200.0)):  # each in its own haze
        painter.lying(-left.kerb, right.kerb, near, far, (grey, grey, grey * 1.03), "road")
    for side in scene.sides:
        edge = side.side * side.kerb
        for width, color in ((0.16, (0.70, 0.69, 0.66)), (-0.1, (grey * 0.6,) * 3)):
            inner, outer = sorted((edge, edge + side.side * width))
            painter.lying(inner, outer, _NEAR, 70, color, None)
    if scene.crossing:
        x = 0.4 - left.kerb
        while x < right.kerb - 0.7:
            painter.lying(x, x + 0.5, scene.crossing, scene.crossing + 2.8, _WHITE, None)
            x += 1.0
    if scene.marked:
        for start in range(1, 62, 6):
            painter.lying(-0.9, -0.75, start, start + 3, _WHITE, None)


def paint_blocks(painter: Painter, rng: np.random.Generator) -> None:
    """Paint what stands along both sides, the farthest first."""
    for block in sorted(painter.scene.blocks, key=lambda block: -block.far):
        _BLOCKS[block.kind](painter, block, rng)


def _building(painter: Painter, block: Block, rng: np.random.Generator) -> None:
    x, outer = block.side * block.front, block.side * (block.front + 14)
    painter.rectangle(x, outer, 0, block.height, block.near, block.color, "building", light=0.7)
    painter.upright(x, block.near, block.far, 0, block.height, block.color, "building")
    if block.near > _SHARP:
        return
    base = scaled(block.color, 0.72)
    painter.upright(x, block.near, block.far, 0, 0.7, base, None)
    painter.upright(x, block.near, block.far, block.height - 0.35, block.height, base, None)
    windows = _windows(block)
    if block.near < _SHARP / 2:
        frames = [(a - 0.12, b + 0.12, low - 0.12, high + 0.12) for a, b, low, high in windows]
        panes(painter, x, frames, lambda _: (0.8, 0.78, 0.74))
    tones = rng.random(len(windows)).tolist()
    panes(painter, x, windows, lambda i: _glass(tones[i]))


def _windows(block: Block) -> list[tuple[float, float, float, float]]:
    """Return near, far, low, high of the windows, taller ones on the ground floor."""
    bay = (block.far - block.near) / block.bays
    storey = block.height / block.floors
    found = []
    for floor in range(block.floors):
        low = (floor + 0.3) * storey if floor else 0.8
        high = low + storey * (0.48 if floor else 0.62)
        for place in range(block.bays):
            near = block.near + (place + 0.25) * bay
            found.append((near, near + bay * 0.5, low, high))
    return found


def _glass(tone: float) -> Color:
    if tone > 0.9:
        return 0.78, 0.72, 0.55  # lit
    return 0.15 + 0.22 * tone, 0.19 + 0.25 * tone, 0.24 + 0.3 * tone


def _fence(painter: Painter, block: Block, rng: np.random.Generator) -> None:
    """Paint bars before green; Cityscapes labels what shines through as the fence."""
    x = block.side * block.front
    behind = leaf_color(painter.scene.season, 0.9)
    painter.upright(x, block.near, block.far, 0, block.height, behind, "fence")
    starts = np.arange(block.near, block.far, 0.45).tolist()
    panes(painter, x, [(z, z + 0.16, 0.0, block.height) for z in starts], lambda _: block.color)
    for low in (0.15 * block.height, 0.85 * block.height):
        painter.upright(x, block.near, block.far, low, low + 0.12, block.color, None)


def _wall(painter: Painter, block: Block, rng: np.random.Generator) -> None:
    x, top = block.side * block.front, block.height
    painter.upright(x, block.near, block.far, 0, top, block.color, "wall")
    painter.upright(x, block.near, block.far, top - 0.2, top, scaled(block.color, 1.15), None)
    starts = np.arange(block.near, block.far, 2.5).tolist()
    seams = [(z, z + 0.08, 0.0, top - 0.2) for z in starts]
    panes(painter, x, seams, lambda _: (0.36, 0.34, 0.31))


def _hedge(painter: Painter, block: Block, rng: np.random.Generator) -> None:
    x = block.side * block.front
    painter.upright(x, block.near, block.far, 0, block.height * 0.8, block.color, "vegetation")
    for z in np.arange(block.far, block.near, -1.4).tolist():
        radius = block.height * (0.22 + 0.14 * float(rng.random()))
        painter.disc(
            x + block.side * radius * 0.6, block.height * 0.75, z, radius, radius,
            scaled(block.color, 0.8 + 0.4 * float(rng.random())), "vegetation",
            light=painter.sides[block.side],
        )  # fmt: skip


_BLOCKS = {"building": _building, "fence": _fence, "wall": _wall, "hedge": _hedge}


def paint_bonnet(painter: Painter) -> None:
    """Paint the bonnet of the car that carries the camera, unlabelled as in Cityscapes."""
    camera, height = painter.scene.camera, painter.scene.bonnet
    for path, color, label in (
        (ellipse(0.5, 1.02, 0.62, height + 0.02), (0.13, 0.13, 0.15), IGNORE),
        (ellipse(0.5, 1.025, 0.5, height * 0.55), (0.24, 0.25, 0.28), None),
    ):
        # At a distance of the focal length, fractions of the picture are metres.
        corners: list[Corner] = [
            (x - camera.x, camera.height - y + camera.horizon, camera.focal)
            for x, y in path.tolist()
        ]
        painter.forms.append(Form(corners, color, label, 0.0, 1.0))


_LENGTHS = {  # half the width and the length on the ground, metres
    "car": (1.0, 4.4), "truck": (1.3, 7.2), "bus": (1.4, 10.2), "tree": (1.6, 1.6),
    "person": (0.4, 0.5), "cyclist": (0.4, 1.7),
}  # fmt: skip


def paint_shadows(painter: Painter) -> None:
    """Paint the ground in the shade, black: beside houses and below all that stands.

    The light of a form is how dark its shadow is.
    """
    scene = painter.scene
    for block in scene.blocks:
        if block.side == scene.sun_side:
            reach = block.front - min(block.height, 9.0) * 0.55
            inner, outer = sorted((block.side * block.front, block.side * reach))
            _shade(painter, inner, outer, block.near, block.far, 0.85 * scene.sun)
    for thing in scene.things:
        half, length = _LENGTHS.get(thing.kind, (0.2, 0.4))
        shift = -0.35 * scene.sun_side * (thing.size if thing.kind == "tree" else 1.0)
        left, right = thing.x - half + min(shift, 0), thing.x + half + max(shift, 0)
        near = max(thing.z - 0.15, _NEAR)
        _shade(painter, left, right, near, thing.z + length, 0.75 + 0.2 * scene.sun)


def _shade(
    painter: Painter, left: float, right: float, near: float, far: float, share: float
) -> None:
    corners: list[Corner] = [
        (left, 0.0, near), (right, 0.0, near), (right, 0.0, far), (left, 0.0, far)
    ]  # fmt: skip
    painter.forms.append(Form(corners, (1.0, 1.0, 1.0), None, 0.0, share))
