"""Curves as polygons and supersampled filling of polygons.

Points are float64 arrays of shape (n, 2), x to the right and y down. Filling works on integer
coordinates of a canvas several times the image and averages blocks of it, so that a picture depends
only on integer arithmetic once its corners are rounded.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Points = NDArray[np.float64]
Color = tuple[float, float, float]  # RGB in [0, 1]


def _catmull_rom(steps: int) -> NDArray[np.float64]:
    t = np.arange(steps) / steps
    return 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], 1
    )


_STEPS = 6
_BASIS = _catmull_rom(_STEPS)
_TURN = np.arange(40) * (np.pi / 20)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)


def points(*pairs: tuple[float, float]) -> Points:
    """Return pairs (x, y) as an array of shape (n, 2)."""
    return np.array(pairs, dtype=np.float64)


def flip(path: Points, side: float = -1) -> Points:
    """Mirror a path in x for side -1, leave it for side 1."""
    return path * np.array([side, 1.0])


def mirrored(half: Points) -> Points:
    """Join a path at x >= 0 with its mirror image: left side reversed, then the right side."""
    left = flip(half[::-1])
    return np.concatenate([left[:-1] if half[0, 0] == 0 else left, half])


def smooth(path: Points, closed: bool = False) -> Points:
    """Return a Catmull-Rom spline through the points of a path."""
    if closed:
        padded = np.concatenate([path[-1:], path, path[:2]])
    else:
        padded = np.concatenate([path[:1], path, path[-1:]])
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)])
    curve = np.einsum("sk,knd->nsd", _BASIS, windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, path[-1:]])


def scallops(path: Points, bulge: float) -> Points:
    """Join the points of a path by arcs that bulge to the left of it by a share of their length."""
    start, end = path[:-1], path[1:]
    across = (end - start)[:, ::-1] * np.array([1.0, -1.0])
    middle = (start + end) / 2 + across * (2 * bulge)
    t = (np.arange(_STEPS) / _STEPS)[None, :, None]
    curve = (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * middle[:, None] + t**2 * end[:, None]
    return np.concatenate([curve.reshape(-1, 2), path[-1:]])


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """Return an ellipse as a polygon."""
    return np.array([x, y]) + _CIRCLE * np.array([rx, ry])


def brush(path: Points, width: float, start: float = 0.1, end: float = 0.1) -> Points:
    """Return the outline of a stroke along a path, `start` and `end` its relative end widths."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.sqrt((along**2).sum(1, keepdims=True)), 1e-9)
    t = np.linspace(0, 1, len(path))
    body = 4 * t * (1 - t)
    profile = body + (1 - body) * (start + (end - start) * t)
    offset = along[:, ::-1] * np.array([1.0, -1.0]) * (profile * width / 2)[:, None]
    return np.concatenate([path + offset, (path - offset)[::-1]])


def area(polygon: Points) -> float:
    """Return the area inside a polygon (shoelace formula)."""
    following = np.roll(polygon, -1, axis=0)
    return float(abs((polygon[:, 0] * following[:, 1] - polygon[:, 1] * following[:, 0]).sum()) / 2)


def to_bytes(color: Color) -> tuple[int, int, int]:
    """Return a colour in [0, 1] as three bytes."""
    red, green, blue = (int(min(max(c, 0.0), 1.0) * 255 + 0.5) for c in color)
    return red, green, blue


def _corners(path: Points, side: int) -> list[float]:
    """Return the nearest pixels; half a pixel lies between a pixel's corner and its middle."""
    return np.rint(path * side - 0.5).ravel().tolist()


class Canvas:
    """A supersampled picture of flat polygons.

    Args:
        size: side of the finished picture in pixels.
        color: colour of the empty canvas in [0, 1].
    """

    def __init__(self, size: int, color: Color = (0, 0, 0)):
        self.size = size
        self.factor = 4 if size <= 128 else 2
        self.side = size * self.factor
        self.image = Image.new("RGB", (self.side, self.side), to_bytes(color))
        self.pen = ImageDraw.Draw(self.image)

    def fill(self, path: Points, color: Color) -> None:
        """Fill a polygon given in fractions of the side."""
        self.pen.polygon(_corners(path, self.side), fill=to_bytes(color))

    def line(self, path: Points, color: Color, width: float) -> None:
        """Draw a line of even width, given in fractions of the side."""
        pixels = max(1, round(width * self.side))
        self.pen.line(_corners(path, self.side), fill=to_bytes(color), width=pixels)

    def outlined(self, path: Points, color: Color, ink: Color, width: float) -> None:
        """Fill a polygon and draw its outline."""
        self.fill(path, color)
        self.line(np.concatenate([path, path[:2]]), ink, width)

    def stencil(self, *paths: Points) -> Image.Image:
        """Return the supersampled mask of the union of polygons."""
        mask = Image.new("L", (self.side, self.side))
        pen = ImageDraw.Draw(mask)
        for path in paths:
            pen.polygon(_corners(path, self.side), fill=255)
        return mask

    def clipped(self, clip: Image.Image, *shapes: tuple[Points, Color]) -> None:
        """Fill polygons inside a stencil only."""
        box = clip.getbbox()
        if box is None:
            return
        layer = self.image.copy()
        pen = ImageDraw.Draw(layer)
        for path, color in shapes:
            pen.polygon(_corners(path, self.side), fill=to_bytes(color))
        self.image.paste(layer.crop(box), box, clip.crop(box))

    def pixels(self) -> NDArray[np.uint8]:
        """Return the finished picture, uint8 H W 3."""
        return np.asarray(self.image.reduce(self.factor))

    def soft(self, blur: float, *paths: Points) -> NDArray[np.float32]:
        """Return the union of polygons as a blurred mask, H W in [0, 1]; `blur` in sides."""
        side = 2 * self.size
        mask = Image.new("L", (side, side))
        pen = ImageDraw.Draw(mask)
        for path in paths:
            pen.polygon(_corners(path, side), fill=255)
        blurred = mask.reduce(2).filter(ImageFilter.GaussianBlur(blur * self.size))
        return np.asarray(blurred, dtype=np.float32) / np.float32(255)
