"""Photo-like rendering: light from a direction, texture, soft focus and sensor noise."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from zoo.data._toonfaces import hair, shapes
from zoo.data._toonfaces.face import EYE_COLORS, Face, hsv, mixed, scaled
from zoo.data._toonfaces.raster import Canvas, Color, Points, brush, ellipse, points, smooth

Field = NDArray[np.float32]  # H W, or H W 3
Double = NDArray[np.float64]  # H W

_SIDES = (-1, 1)
_SKIN, _HAIR, _CLOTH = (1, 0, 0), (0, 1, 0), (0, 0, 1)  # channels of the material


class _Layers:
    """Colour and material of every pixel, painted together from back to front."""

    def __init__(self, face: Face, size: int):
        self.color = Canvas(size)
        self.material = Canvas(size)

    def fill(self, path: Points, color: Color, material: Color) -> None:
        self.color.fill(path, color)
        self.material.fill(path, material)

    def line(self, path: Points, color: Color, width: float) -> None:
        self.color.line(path, color, width)


def render_photo(face: Face, size: int) -> NDArray[np.uint8]:
    """Draw a face in the style of a photo.

    Args:
        face: what to draw.
        size: side of the picture in pixels, at least 16.

    Returns:
        uint8 array, size x size x 3.
    """
    rng = np.random.default_rng([face.seed, face.index, 1])
    backdrop = _backdrop(face, size, rng)
    layers = _Layers(face, size)
    _paint_body(layers, face)
    _paint_head(layers, face)
    for side in _SIDES:
        _paint_eye(layers, face, side)
    _paint_mouth(layers, face)
    _paint_hair(layers, face)
    if face.glasses:
        _paint_glasses(layers, face)

    albedo = _unit(layers.color.pixels())
    material = _unit(layers.material.pixels())
    cover = np.minimum(material.sum(2, keepdims=True), 1)
    _soften_skin(albedo, material[..., :1], face, layers.color)
    lit = albedo * _lighting(face, size, material, rng)
    picture = backdrop * (1 - cover) + lit
    return _camera(picture, face, rng)


def _unit(pixels: NDArray[np.uint8]) -> Field:
    return pixels.astype(np.float32) / np.float32(255)


def _resized(values: NDArray[np.uint8], size: int) -> Field:
    """Enlarge a small uint8 field smoothly to size x size, in [0, 1]."""
    return _unit(np.asarray(Image.fromarray(values).resize((size, size), Image.Resampling.BICUBIC)))


def _backdrop(face: Face, size: int, rng: np.random.Generator) -> Field:
    """Return an unsharp room: two tones, dark and light things, light from the lit side."""
    hue, saturation, value = face.background
    small = Canvas(32, hsv(hue, saturation, value * 0.95))
    for _ in range(9):
        x, y, rx, ry = rng.random(4).tolist()
        tone = value * (0.55 + 0.85 * float(rng.random()))
        shade = hsv(
            hue + 0.1 * float(rng.random()) - 0.05,
            saturation * (0.6 + 0.7 * float(rng.random())),
            tone,
        )
        if rng.random() < 0.5:
            small.fill(ellipse(x, y, 0.08 + 0.2 * rx, 0.08 + 0.2 * ry), shade)
        else:
            width, height = 0.08 + 0.2 * rx, 0.1 + 0.4 * ry
            small.fill(
                points(
                    (x - width, y - height),
                    (x + width, y - height),
                    (x + width, y + height),
                    (x - width, y + height),
                ),
                shade,
            )
    blurred = Image.fromarray(small.pixels()).filter(ImageFilter.GaussianBlur(1.6))
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    light = 1.06 + 0.3 * face.light_strength * face.lit_side * ramp[None, :]
    return _resized(np.asarray(blurred), size) * light[..., None]


def _paint_body(layers: _Layers, face: Face) -> None:
    head, body = face.pose.head, face.pose.body
    color = face.hair_rgb(flat=False)
    for path in hair.back(face, toon=False):
        layers.fill(head(path), scaled(color, 0.85), _HAIR)
    layers.fill(body(shapes.neck(False)), scaled(face.skin_color(False), 0.93), _SKIN)
    hue, saturation, value = face.cloth
    layers.fill(body(shapes.shoulders(False)), hsv(hue, saturation * 0.85, value), _CLOTH)


def _paint_head(layers: _Layers, face: Face) -> None:
    head, skin = face.pose.head, face.skin_color(False)
    for side in _SIDES:
        layers.fill(head(shapes.ear(False, side)), mixed(skin, (0.7, 0.3, 0.25), 0.15), _SKIN)
    layers.fill(head(shapes.outline(face, False)), skin, _SKIN)
    dark = scaled(skin, 0.45)
    for side in _SIDES:
        layers.fill(head(ellipse(side * 0.085, 0.435, 0.04, 0.024)), dark, _SKIN)
        brow = mixed(scaled(face.hair_rgb(False), 0.7), skin, 0.2)
        layers.fill(head(brush(shapes.brow(face, False, side), 0.1, 0.6, 0.15)), brow, _SKIN)


def _paint_eye(layers: _Layers, face: Face, side: int) -> None:
    head = face.pose.head
    color = EYE_COLORS[face.eye_color][0]
    opening = head(shapes.eye(face, False, side))
    clip = layers.color.stencil(opening)
    x, y = shapes.eye_center(face, False, side)
    width, height = shapes.eye_radii(face, False)
    shift = x + face.gaze * 0.25 * width
    layers.fill(opening, (0.9, 0.88, 0.87), _SKIN)
    layers.color.clipped(
        clip,
        (head(shapes.iris(face, False, side)), scaled(color, 0.7)),
        (head(shapes.iris(face, False, side, 0.8)), color),
        (head(shapes.iris(face, False, side, 0.42)), (0.03, 0.03, 0.03)),
        (head(ellipse(shift + 0.03 * face.lit_side, y - 0.3 * height, 0.022, 0.022)), (1, 1, 1)),
    )
    lash = mixed((0.08, 0.05, 0.04), face.skin_color(False), 0.12)
    lid = shapes.eye_lid(face, False, side)
    layers.color.fill(head(brush(lid, 0.05, 0.4, 0.6)), lash)
    crease = lid[3:] + np.array([0, -0.055])
    layers.color.fill(head(brush(crease, 0.02)), scaled(face.skin_color(False), 0.62))
    floor = shapes.eye_floor(face, False, side)
    layers.color.fill(head(brush(floor, 0.018)), scaled(face.skin_color(False), 0.5))


def _paint_mouth(layers: _Layers, face: Face) -> None:
    head, skin = face.pose.head, face.skin_color(False)
    line, upper, lower = shapes.mouth(face, False)
    lips = mixed(skin, (0.62, 0.16, 0.18), 0.42)
    layers.color.fill(head(np.concatenate([line, lower[::-1]])), lips)
    if face.smile > 0.55:
        teeth = line + (lower - line) * 0.6
        layers.color.fill(head(np.concatenate([line, teeth[::-1]])), (0.86, 0.83, 0.79))
    layers.color.fill(head(np.concatenate([line, upper[::-1]])), scaled(lips, 0.82))
    layers.color.fill(head(brush(line, 0.03)), scaled(lips, 0.45))


def _paint_hair(layers: _Layers, face: Face) -> None:
    layers.fill(face.pose.head(hair.front(face, False)), face.hair_rgb(False), _HAIR)


def _paint_glasses(layers: _Layers, face: Face) -> None:
    head, frame = face.pose.head, (0.1, 0.09, 0.1)
    for side in _SIDES:
        rim = head(shapes.glass(face, False, side))
        layers.line(np.concatenate([rim, rim[:2]]), frame, 0.011)
        y = shapes.eye_center(face, False, side)[1]
        layers.line(head(points((side * 0.76, y - 0.08), (side * 0.98, y - 0.05))), frame, 0.009)
    layers.line(
        head(smooth(points((-0.12, y - 0.05), (0, y - 0.09), (0.12, y - 0.05)))), frame, 0.009
    )


def _soften_skin(albedo: Field, skin: Field, face: Face, canvas: Canvas) -> None:
    """Add red cheeks, and the shadows of nose, brows, hair and chin, in place."""
    head, scale = face.pose.head, face.pose.scale
    side = -face.lit_side  # the side in the shade

    def soft(blur: float, *paths: Points) -> Field:
        return canvas.soft(blur * scale, *(head(path) for path in paths))[..., None] * skin

    strength = 0.5 + 0.4 * face.light_strength
    cheeks = soft(0.14, *(ellipse(s * 0.55, 0.4, 0.22, 0.16) for s in _SIDES))
    albedo *= 1 - cheeks * np.array([0.0, 0.16, 0.12], np.float32)
    width = 0.14 + 0.05 * face.nose
    nose = points(
        (side * 0.04, -0.2), (side * 0.1, 0.1), (side * width, 0.36), (side * 0.1, 0.46), (0, 0.4)
    )
    under = ellipse(0, 0.5, width * 0.9, 0.05)
    sockets = [ellipse(s * face.eye_gap, -0.16, 0.26, 0.14) for s in _SIDES]
    temples = points(
        (side * 0.62, -0.5),
        (side * 1.1, -0.5),
        (side * 1.05, 0.5),
        (side * 0.6, 1.2),
        (side * 0.72, 0.4),
    )
    albedo *= 1 - 0.34 * strength * soft(0.06, nose, under)
    albedo *= 1 - 0.16 * strength * soft(0.09, *sockets)
    albedo *= 1 - 0.3 * strength * soft(0.2, temples)
    albedo *= 1 - 0.4 * strength * soft(
        0.1, hair.front(face, False) + np.array([side * 0.05, 0.08])
    )
    albedo *= 1 - 0.14 * strength * soft(0.06, ellipse(0, 0.95, 0.2, 0.04))
    shine = soft(
        0.05, ellipse(-side * 0.03, 0.1, 0.035, 0.28), ellipse(-side * 0.03, 0.34, 0.06, 0.05)
    )
    brow = soft(
        0.16, ellipse(-side * 0.35, -0.55, 0.3, 0.14), ellipse(-side * 0.55, 0.28, 0.16, 0.13)
    )
    albedo += (0.16 * shine + 0.1 * brow) * face.light_strength


def _lighting(face: Face, size: int, material: Field, rng: np.random.Generator) -> Field:
    """Return what multiplies the albedo: shape from a direction of light, hair, folds."""
    # Doubles, as exp and arctan2 differ between processors in the last bit: in single precision
    # that would now and then change a byte of the picture.
    x, y = face.pose.grid(size)
    lx, ly, lz = face.light

    def lambert(nx: Double, ny: Double) -> Double:
        nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.02))
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        return np.maximum((nx * lx + ny * ly + nz * lz) / length, 0)

    key = face.light_strength
    ambient = 1.05 - 0.5 * key
    skin = ambient + 0.9 * key * lambert(x / 1.2, y / 1.75)
    # The neck lies in the shadow of the chin.
    skin += 0.25 * key * np.clip((y - 1.2) * 3, 0, 1)

    root_y = y + 1.35
    angle = np.arctan2(x, root_y + 0.25 * np.abs(root_y))
    streaks = np.interp(angle, np.linspace(-np.pi, np.pi, 220), rng.random(220))
    if face.hair == "curly":
        curls = rng.integers(0, 256, (34, 34), dtype=np.uint8)
        streaks = _resized(curls, size)
    radius = np.sqrt(x * x + (y + 0.2) ** 2)
    gloss = np.exp(-(((radius - 1.02) / 0.17) ** 2)) * np.maximum(0.2 + lx * x - ly, 0)
    body = ambient + 0.75 * key * lambert(x / 1.5, (y + 0.2) / 1.9)
    strands = body * (0.72 + 0.62 * streaks) + 0.75 * key * gloss * (0.5 + streaks)

    cloth = ambient + 0.8 * key * lambert(x / 2.6, (y - 3.2) / 2.4)
    folds = _resized(rng.integers(0, 256, (4, 7), dtype=np.uint8), size)
    cloth = cloth * (0.82 + 0.36 * folds)

    weight = material / np.maximum(material.sum(2, keepdims=True), 1e-3)
    none = 1 - np.minimum(material.sum(2) * 4, 1)
    total = skin * weight[..., 0] + strands * weight[..., 1] + cloth * weight[..., 2] + none
    return total[..., None].astype(np.float32)


def _camera(picture: Field, face: Face, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture through a lens out of focus and a noisy sensor, as uint8 H W 3."""
    size = len(picture)
    warm = np.array([1 + 0.05 * face.warmth, 1.0, 1 - 0.06 * face.warmth], np.float32)
    ticks = np.linspace(-1, 1, size, dtype=np.float32)
    vignette = 1 - 0.1 * (ticks[None, :] ** 2 + ticks[:, None] ** 2)
    exposed = np.clip(picture * warm * vignette[..., None], 0, 1)
    sharp = Image.fromarray((exposed * 255 + 0.5).astype(np.uint8))
    focused = sharp.filter(ImageFilter.GaussianBlur(face.focus * size))
    # Sums of four bytes are near enough to a normal distribution, and integers everywhere.
    grain = rng.integers(0, 256, (4, size, size, 3), dtype=np.int32).sum(0) - 510
    coarse = rng.integers(0, 256, (4, max(size // 2, 1), max(size // 2, 1)), dtype=np.int32).sum(0)
    blotches = (
        np.asarray(
            Image.fromarray((coarse // 4).astype(np.uint8)).resize(
                (size, size), Image.Resampling.BILINEAR
            ),
            np.int32,
        )
        - 127
    )
    amount = int(face.noise * 14)
    noise = (grain * amount) // 256 + (blotches * amount // 128)[..., None]
    return np.clip(np.asarray(focused, np.int32) + noise, 0, 255).astype(np.uint8)
