"""The parameters of one face and how its points are placed in the picture."""

import colorsys
from dataclasses import dataclass

import numpy as np

from zoo.data._toonfaces.raster import Color, Points

HAIR_STYLES = ("short", "bob", "long", "bun", "curly", "twintails")
FRINGES = ("straight", "swept", "parted")

# Name: (hair in a photo, hair in a webtoon). The second is the first, flat and saturated.
HAIR_COLORS: dict[str, tuple[Color, Color]] = {
    "black": ((0.10, 0.09, 0.10), (0.17, 0.16, 0.27)),
    "brown": ((0.31, 0.20, 0.13), (0.47, 0.25, 0.14)),
    "red": ((0.52, 0.22, 0.12), (0.82, 0.28, 0.14)),
    "blond": ((0.76, 0.60, 0.36), (0.98, 0.80, 0.38)),
    "silver": ((0.66, 0.67, 0.70), (0.76, 0.80, 0.92)),
    "pink": ((0.76, 0.45, 0.54), (0.98, 0.52, 0.68)),
    "blue": ((0.25, 0.36, 0.54), (0.22, 0.46, 0.86)),
}
EYE_COLORS: dict[str, tuple[Color, Color]] = {
    "brown": ((0.32, 0.19, 0.11), (0.60, 0.32, 0.14)),
    "green": ((0.30, 0.40, 0.22), (0.26, 0.66, 0.36)),
    "blue": ((0.30, 0.43, 0.56), (0.20, 0.52, 0.90)),
    "grey": ((0.42, 0.42, 0.44), (0.52, 0.50, 0.66)),
}
_SKINS = np.array(
    [
        [0.95, 0.80, 0.71],
        [0.88, 0.69, 0.56],
        [0.76, 0.55, 0.41],
        [0.58, 0.39, 0.28],
        [0.42, 0.28, 0.20],
    ]
)
_FLAT_SKINS = np.array(
    [
        [1.00, 0.89, 0.81],
        [0.99, 0.80, 0.66],
        [0.88, 0.65, 0.47],
        [0.70, 0.46, 0.31],
        [0.53, 0.34, 0.24],
    ]
)


def hsv(hue: float, saturation: float, value: float) -> Color:
    """Return a colour as RGB in [0, 1]."""
    return colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))


def scaled(color: Color, factor: float) -> Color:
    """Return a colour made darker or lighter by a factor."""
    red, green, blue = color
    return red * factor, green * factor, blue * factor


def mixed(first: Color, second: Color, share: float) -> Color:
    """Return the first colour with a share of the second."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(first, second, strict=True))
    return red, green, blue


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where the head is and which way it looks.

    Attributes:
        x, y: the middle of the face, in fractions of the side of the picture.
        scale: half the width of the face, in fractions of the side.
        tilt: rotation in the picture plane, in radians, positive clockwise.
        yaw, pitch: shift of the middle of the face against its outline, in half face widths.
    """

    x: float
    y: float
    scale: float
    tilt: float
    yaw: float
    pitch: float

    def head(self, path: Points) -> Points:
        """Map points of the head (half face widths) to fractions of the picture."""
        x, y = path[:, 0], path[:, 1]
        depth = np.sqrt(np.maximum(1 - (x / 1.15) ** 2 - (y / 1.7) ** 2, 0))
        x, y = x + self.yaw * depth, y + self.pitch * depth - 1.0
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        turned = np.stack([cosine * x - sine * y, sine * x + cosine * y + 1.0], 1)
        return self.body(turned)

    def body(self, path: Points) -> Points:
        """Map points of the body, which neither turns nor tilts, to fractions of the picture."""
        return path * self.scale + np.array([self.x, self.y])

    def grid(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return head coordinates x, y (each H W) of the pixels, without yaw and pitch."""
        ticks = (np.arange(size) + 0.5) / size
        x = (ticks[None, :] - self.x) / self.scale
        y = (ticks[:, None] - self.y) / self.scale - 1.0
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        return cosine * x + sine * y, cosine * y - sine * x + 1.0


@dataclass(frozen=True, kw_only=True)
class Face:
    """All that is to be known about one face; both renderings are functions of it.

    Attributes that a label can be made of are `hair`, `hair_color`, `glasses`, `skin` (0 light to
    1 dark), `smile` (0 none to 1 laughing) and `pose`.
    """

    seed: int
    index: int
    hair: str
    hair_color: str
    fringe: str
    part: int  # side of the parting, -1 or 1
    hair_shade: float
    glasses: bool
    round_glasses: bool
    skin: float
    smile: float
    eye_color: str
    eye_size: float
    eye_gap: float
    jaw: float  # 0 narrow to 1 wide
    brows: float
    nose: float
    gaze: float
    pose: Pose
    background: tuple[float, float, float]  # hue, saturation, value
    cloth: tuple[float, float, float]
    light: tuple[float, float, float]  # unit vector towards the light
    light_strength: float
    warmth: float
    focus: float  # radius of the blur, in fractions of the side
    noise: float

    @classmethod
    def draw(cls, seed: int, index: int) -> "Face":
        """Draw a face; the same seed and index always give the same one."""
        rng = np.random.default_rng([seed, index])

        def uniform(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def choice(options: tuple[str, ...]) -> str:
            return options[int(rng.integers(len(options)))]

        azimuth, height = uniform(0.35, 0.85) * (1 if rng.random() < 0.5 else -1), uniform(0.2, 0.5)
        frontal = float(np.sqrt(max(1 - azimuth**2 - height**2, 0.05)))
        return cls(
            seed=seed,
            index=index,
            hair=choice(HAIR_STYLES),
            hair_color=choice(tuple(HAIR_COLORS)),
            fringe=choice(FRINGES),
            part=1 if rng.random() < 0.5 else -1,
            hair_shade=uniform(0.9, 1.1),
            glasses=bool(rng.random() < 0.25),
            round_glasses=bool(rng.random() < 0.5),
            skin=uniform(0, 1) ** 1.3,
            smile=uniform(0, 1),
            eye_color=choice(tuple(EYE_COLORS)),
            eye_size=uniform(0.94, 1.06),
            eye_gap=uniform(0.41, 0.46),
            jaw=uniform(0, 1),
            brows=uniform(0, 1),
            nose=uniform(0, 1),
            gaze=uniform(-0.3, 0.3),
            pose=Pose(
                x=uniform(0.46, 0.54),
                y=uniform(0.5, 0.56),
                scale=uniform(0.215, 0.25),
                tilt=uniform(-0.2, 0.2),
                yaw=uniform(-0.24, 0.24),
                pitch=uniform(-0.05, 0.07),
            ),
            background=(uniform(0, 1), uniform(0.12, 0.5), uniform(0.55, 0.95)),
            cloth=(uniform(0, 1), uniform(0.2, 0.8), uniform(0.3, 0.9)),
            light=(azimuth, -height, frontal),
            light_strength=uniform(0.6, 1.0),
            warmth=uniform(-1, 1),
            focus=uniform(0.004, 0.009),
            noise=uniform(0.6, 1.4),
        )

    @property
    def lit_side(self) -> int:
        """The side the light comes from, -1 left in the picture or 1 right."""
        return 1 if self.light[0] > 0 else -1

    def skin_color(self, flat: bool) -> Color:
        """Return the colour of the skin, as in a webtoon if `flat`."""
        table = _FLAT_SKINS if flat else _SKINS
        place = self.skin * (len(table) - 1)
        low = min(int(place), len(table) - 2)
        red, green, blue = table[low] + (table[low + 1] - table[low]) * (place - low)
        return float(red), float(green), float(blue)

    def hair_rgb(self, flat: bool) -> Color:
        """Return the colour of the hair, as in a webtoon if `flat`."""
        return scaled(HAIR_COLORS[self.hair_color][flat], self.hair_shade)

    def attributes(self) -> dict[str, object]:
        """Return the labels of this face, ready for JSON."""
        return {
            "hair": self.hair,
            "hair_color": self.hair_color,
            "glasses": self.glasses,
            "skin": round(self.skin, 4),
            "smile": round(self.smile, 4),
            "yaw": round(self.pose.yaw, 4),
            "tilt": round(self.pose.tilt, 4),
            "scale": round(self.pose.scale, 4),
            "x": round(self.pose.x, 4),
            "y": round(self.pose.y, 4),
        }
