"""What there is in one street, in metres, and where the camera stands.

X points right, Y up, Z along the street; the camera is at X = 0, Z = 0. Both drawings and the mask
are functions of a `Scene`.
"""

from dataclasses import dataclass

import numpy as np

from zoo.data._toonfaces.face import hsv
from zoo.data._toonfaces.raster import Color

FAR = 90.0  # where the street ends
_PAINTS: tuple[Color, ...] = (
    (0.08, 0.08, 0.09), (0.62, 0.63, 0.65), (0.82, 0.82, 0.80), (0.32, 0.34, 0.37),
    (0.50, 0.09, 0.09), (0.10, 0.18, 0.38), (0.16, 0.27, 0.20), (0.60, 0.52, 0.36),
)  # fmt: skip
_FACADES: tuple[Color, ...] = (
    (0.66, 0.56, 0.43), (0.72, 0.68, 0.60), (0.56, 0.34, 0.26), (0.62, 0.60, 0.58),
    (0.74, 0.62, 0.40), (0.50, 0.46, 0.42), (0.62, 0.45, 0.38), (0.48, 0.52, 0.56),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera that looks along the street.

    Attributes:
        height: above the road, in metres.
        focal: in sides of the picture.
        x, horizon: the vanishing point, in fractions of the picture.
    """

    height: float
    focal: float
    x: float
    horizon: float


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the street, from the road outward; widths and distances in metres."""

    side: int  # -1 left, 1 right
    kerb: float  # distance of the road's edge from the camera
    sidewalk: float
    lawn: float  # 0: none

    @property
    def front(self) -> float:
        """Distance of the facades from the camera."""
        return self.kerb + self.sidewalk + self.lawn


@dataclass(frozen=True, kw_only=True)
class Block:
    """What stands along one side from `near` to `far`: a building, a fence, a wall or a hedge."""

    kind: str  # "building", "fence", "wall", "hedge"
    side: int
    near: float
    far: float
    front: float
    height: float
    color: Color
    floors: int
    bays: int


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What stands in the street: `kind` is one of `THINGS`.

    Attributes:
        x, z: its middle at the ground, in metres; z is its near end.
        size: height in metres.
        color: of its largest part.
        turn: a number in [0, 1) that varies its form.
        facing: -1 or 1: which way it looks or goes; for a pole, the side of its arm.
    """

    kind: str
    x: float
    z: float
    size: float
    color: Color
    turn: float
    facing: int


THINGS = ("tree", "lamp", "sign", "light", "car", "truck", "bus", "person", "cyclist")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that is to be known about one street."""

    seed: int
    index: int
    camera: Camera
    sides: tuple[Side, Side]
    blocks: tuple[Block, ...]
    things: tuple[Thing, ...]
    end: str  # what closes the street: "building" or "vegetation"
    bonnet: float  # height of the camera car's bonnet in the picture
    sun_side: int
    sun: float  # 0 overcast to 1 clear
    asphalt: float
    marked: bool
    crossing: float  # its distance in metres; 0: none
    season: float  # 0 summer to 1 autumn
    haze: float  # per metre
    warmth: float
    exposure: float
    focus: float  # radius of the blur, in fractions of the side
    noise: float

    @classmethod
    def draw(cls, seed: int, index: int) -> "Scene":
        """Draw a street; the same seed and index always give the same one."""
        dice = _Dice(seed, index)
        sides = (_side(dice, -1), _side(dice, 1))
        season = dice.between(0, 1) ** 2
        blocks = tuple(block for side in sides for block in _blocks(dice, side, season))
        sun = dice.between(0, 1)
        return cls(
            seed=seed,
            index=index,
            camera=Camera(
                height=dice.between(1.3, 1.7),
                focal=dice.between(0.85, 1.1),
                x=dice.between(0.36, 0.64),
                horizon=dice.between(0.46, 0.58),
            ),
            sides=sides,
            blocks=blocks,
            things=tuple(_things(dice, sides, season)),
            end="building" if dice.chance(0.5) else "vegetation",
            bonnet=dice.between(0.03, 0.07),
            sun_side=dice.sign(),
            sun=sun,
            asphalt=dice.between(0.27, 0.42),
            marked=dice.chance(0.75),
            crossing=dice.between(4, 16) if dice.chance(0.35) else 0.0,
            season=season,
            haze=dice.between(0.002, 0.006) + 0.006 * (1 - sun),
            warmth=dice.between(-1, 1),
            exposure=dice.between(0.88, 1.08),
            focus=dice.between(0.002, 0.006),
            noise=dice.between(0.4, 1.2),
        )

    def attributes(self) -> dict[str, object]:
        """Return what is known of this street, ready for JSON."""
        counts = {kind: sum(thing.kind == kind for thing in self.things) for kind in THINGS}
        return {
            "sunny": self.sun > 0.5,
            "sun_side": "right" if self.sun_side > 0 else "left",
            "autumn": self.season > 0.5,
            **{f"num_{kind}": count for kind, count in counts.items()},
        }


class _Dice:
    """Random numbers that do not change with NumPy's version: all made from uniform ones."""

    def __init__(self, seed: int, index: int):
        self._rng = np.random.default_rng([seed, index, 7])

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._rng.random())

    def chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def sign(self) -> int:
        return 1 if self.chance(0.5) else -1

    def pick(self, options: tuple[Color, ...]) -> Color:
        return options[int(self._rng.random() * len(options))]


def leaf_color(season: float, shade: float) -> Color:
    """Return the colour of leaves: green in summer, yellow-brown in autumn."""
    return hsv(0.27 - 0.15 * season, 0.5 + 0.1 * season, (0.36 + 0.14 * season) * shade)


def _side(dice: _Dice, side: int) -> Side:
    return Side(
        side=side,
        kerb=dice.between(3.0, 5.2) if side < 0 else dice.between(2.2, 4.8),
        sidewalk=dice.between(2.0, 4.5),
        lawn=dice.between(1.5, 5.0) if dice.chance(0.55) else 0.0,
    )


def _blocks(dice: _Dice, side: Side, season: float) -> list[Block]:
    """Fill one side with houses and what stands between them, from near to far."""
    found = []
    z = dice.between(0.8, 3.0)
    while z < FAR - 6:
        roll = dice.between(0, 1)
        kind, length, height = "building", dice.between(7, 18), dice.between(6, 17)
        color = dice.pick(_FACADES)
        if roll > 0.88:
            kind, length, height = "wall", dice.between(5, 10), dice.between(1.6, 2.6)
            color = (0.55, 0.52, 0.48)
        elif roll > 0.76:
            kind, length, height = "fence", dice.between(5, 10), dice.between(1.2, 1.9)
            color = (0.30, 0.27, 0.24)
        elif roll > 0.62:
            kind, length, height = "hedge", dice.between(5, 12), dice.between(1.6, 4.5)
            color = leaf_color(season, dice.between(0.8, 1.1))
        found.append(
            Block(
                kind=kind,
                side=side.side,
                near=z,
                far=min(z + length, FAR),
                front=side.front + (dice.between(0, 0.6) if kind == "building" else 0.0),
                height=height,
                color=color,
                floors=max(2, int(height / 3.1)),
                bays=max(2, int(length / dice.between(2.4, 3.6))),
            )
        )
        z += length + (dice.between(0.5, 4) if dice.chance(0.35) else 0.0)
    return found


def _things(dice: _Dice, sides: tuple[Side, Side], season: float) -> list[Thing]:
    """Everything in the street, the farthest first, as it is painted."""
    found: list[Thing] = []

    def add(kind: str, x: float, z: float, size: float, color: Color) -> None:
        found.append(
            Thing(
                kind=kind, x=x, z=z, size=size, color=color,
                turn=dice.between(0, 1), facing=dice.sign(),
            )
        )  # fmt: skip

    for side in sides:
        _plant(dice, side, season, add)
        _park(dice, side, add)
        _populate(dice, side, add)
    _drive(dice, sides, add)
    return sorted(found, key=lambda thing: -thing.z)


def _plant(dice: _Dice, side: Side, season: float, add) -> None:
    """Trees, lamps, signs and traffic lights beside the kerb."""
    trees, z = dice.chance(0.55), dice.between(5, 14)
    while z < 70 and trees:
        x = side.side * (side.kerb + (side.sidewalk + 0.8 if side.lawn else 0.6))
        add("tree", x, z, dice.between(4.5, 8), leaf_color(season, dice.between(0.8, 1.2)))
        z += dice.between(7, 16)
    z = dice.between(4, 16)
    while z < 60:
        roll = dice.between(0, 1)
        kind = "lamp" if roll < 0.35 else "sign" if roll < 0.75 else "light"
        size = {"lamp": dice.between(4.5, 6.5), "sign": dice.between(2.5, 3.1), "light": 3.3}[kind]
        add(kind, side.side * (side.kerb + 0.45), z, size, (0.34, 0.35, 0.36))
        z += dice.between(6, 18)


def _park(dice: _Dice, side: Side, add) -> None:
    if side.kerb < (4.4 if side.side < 0 else 3.5) or not dice.chance(0.8):
        return
    z = dice.between(4.5, 12)
    while z < 55:
        add("car", side.side * (side.kerb - 1.05), z, dice.between(1.4, 1.75), dice.pick(_PAINTS))
        z += 4.6 + dice.between(0.4, 3) + (dice.between(5, 20) if dice.chance(0.25) else 0)


def _populate(dice: _Dice, side: Side, add) -> None:
    z = dice.between(4, 12)
    while z < 45:
        x = side.side * (side.kerb + dice.between(0.7, side.sidewalk - 0.3))
        clothes = hsv(dice.between(0, 1), dice.between(0.1, 0.7), dice.between(0.15, 0.75))
        add("person", x, z, dice.between(1.55, 1.9), clothes)
        z += dice.between(0.8, 12)


def _drive(dice: _Dice, sides: tuple[Side, Side], add) -> None:
    """Vehicles on the road: oncoming on the left, before us on the right."""
    for lane, start in ((-1.9, 9.0), (0.3, 8.0)):
        z = dice.between(start, 40)
        while z < 70:
            roll = dice.between(0, 1)
            if roll < 0.68:
                add("car", lane, z, dice.between(1.4, 1.7), dice.pick(_PAINTS))
            elif roll < 0.8:
                add("truck", lane, z, dice.between(2.7, 3.4), dice.pick(_PAINTS))
            elif roll < 0.9:
                bright = hsv(dice.between(0, 1), 0.7, 0.7)
                add("bus", lane, z, dice.between(2.9, 3.3), bright)
            z += dice.between(12, 40)
    for side in sides:
        if dice.chance(0.4):
            x = side.side * (side.kerb - dice.between(2.2, 2.5) if side.kerb > 4.6 else 1.4)
            clothes = hsv(dice.between(0, 1), dice.between(0.3, 0.8), dice.between(0.3, 0.8))
            add("cyclist", x, dice.between(5, 20), dice.between(1.65, 1.85), clothes)
