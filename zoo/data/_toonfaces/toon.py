"""Webtoon-like rendering: flat colours, dark outlines, one tone of shadow away from the light."""

import numpy as np
from numpy.typing import NDArray

from zoo.data._toonfaces import hair, shapes
from zoo.data._toonfaces.face import EYE_COLORS, Face, hsv, mixed, scaled
from zoo.data._toonfaces.raster import Canvas, Color, brush, ellipse, flip, points, smooth

_OUTLINE = 0.016  # width of an outline, in fractions of the side
_SIDES = (-1, 1)
_WHITE = (1.0, 1.0, 1.0)


def background_colors(face: Face) -> tuple[Color, Color]:
    """Return the flat colours of the wall and of the disc behind the head."""
    hue, saturation, value = face.background
    wall = hsv(hue, 0.1 + 0.8 * saturation, 0.16 + 0.68 * value)
    return wall, mixed(wall, _WHITE, 0.55)


def cloth_color(face: Face) -> Color:
    """Return the flat colour of the clothes."""
    hue, saturation, value = face.cloth
    return hsv(hue, saturation + 0.12, value + 0.05)


def render_toon(face: Face, size: int) -> NDArray[np.uint8]:
    """Draw a face in the style of a webtoon.

    Args:
        face: what to draw.
        size: side of the picture in pixels, at least 16.

    Returns:
        uint8 array, size x size x 3.
    """
    wall, disc = background_colors(face)
    canvas = Canvas(size, wall)
    canvas.fill(face.pose.body(ellipse(0, -0.1, 1.85, 1.85)), disc)
    ink = mixed((0.09, 0.06, 0.09), face.hair_rgb(flat=True), 0.12)
    _draw_body(canvas, face, ink)
    _draw_head(canvas, face, ink)
    for side in _SIDES:
        _draw_eye(canvas, face, side, ink)
    _draw_nose_and_mouth(canvas, face, ink)
    _draw_hair(canvas, face, ink)
    for side in _SIDES:
        dark = mixed(face.hair_rgb(flat=True), ink, 0.6)
        canvas.fill(face.pose.head(brush(shapes.brow(face, True, side), 0.085, 0.7, 0.2)), dark)
    if face.glasses:
        _draw_glasses(canvas, face, ink)
    return canvas.pixels()


def _draw_body(canvas: Canvas, face: Face, ink: Color) -> None:
    head, body = face.pose.head, face.pose.body
    color = face.hair_rgb(flat=True)
    behind = [head(path) for path in hair.back(face, toon=True)]
    for path in behind:
        canvas.outlined(
            path, scaled(color, 1.0 if face.hair in ("bun", "twintails") else 0.78), ink, _OUTLINE
        )
    skin = face.skin_color(flat=True)
    neck = body(shapes.neck(toon=True))
    canvas.outlined(neck, skin, ink, _OUTLINE)
    shadow = head(shapes.outline(face, True) + np.array([-0.05 * face.lit_side, 0.22]))
    canvas.clipped(canvas.stencil(neck), (shadow, _shaded(skin)))
    cloth = cloth_color(face)
    shoulders = body(shapes.shoulders(toon=True))
    canvas.outlined(shoulders, cloth, ink, _OUTLINE)
    fold = smooth(points((0.75, 1.7), (1.05, 2.3), (1.1, 3.2), (1.1, 5)))
    side = body(flip(np.concatenate([fold, points((3, 5), (3, 1.5))]), -face.lit_side))
    canvas.clipped(canvas.stencil(shoulders), (side, scaled(cloth, 0.78)))
    canvas.line(np.concatenate([shoulders, shoulders[:2]]), ink, _OUTLINE)
    collar = body(smooth(points((-0.62, 1.75), (-0.35, 2.1), (0, 2.22), (0.35, 2.1), (0.62, 1.75))))
    canvas.line(collar, ink, _OUTLINE * 0.6)


def _shaded(skin: Color) -> Color:
    red, green, blue = skin
    return red * 0.88, green * 0.76, blue * 0.78


def _draw_head(canvas: Canvas, face: Face, ink: Color) -> None:
    head, skin = face.pose.head, face.skin_color(flat=True)
    for side in _SIDES:
        canvas.outlined(head(shapes.ear(True, side)), skin, ink, _OUTLINE)
    edge = head(shapes.outline(face, True))
    canvas.outlined(edge, skin, ink, _OUTLINE)
    shadow = head(hair.front(face, toon=True) + np.array([-0.03 * face.lit_side, 0.13]))
    blush = mixed(skin, (1.0, 0.42, 0.45), 0.35)
    cheeks = [(head(ellipse(side * 0.58, 0.42, 0.16, 0.08)), blush) for side in _SIDES]
    canvas.clipped(canvas.stencil(edge), (shadow, _shaded(skin)), *cheeks)
    canvas.line(np.concatenate([edge, edge[:2]]), ink, _OUTLINE)


def _draw_eye(canvas: Canvas, face: Face, side: int, ink: Color) -> None:
    head = face.pose.head
    color = EYE_COLORS[face.eye_color][1]
    opening = canvas.stencil(head(shapes.eye(face, True, side)))
    x, y = shapes.eye_center(face, True, side)
    width, height = shapes.eye_radii(face, True)
    shift = x + face.gaze * 0.25 * width
    glow = ellipse(shift, y + 0.45 * height, 0.42 * width, 0.36 * height)
    canvas.clipped(
        opening,
        (head(ellipse(x, y, width * 1.2, height * 1.2)), (0.98, 0.98, 1.0)),
        (head(shapes.iris(face, True, side)), scaled(color, 0.45)),
        (head(shapes.iris(face, True, side, 0.84)), color),
        (head(glow), mixed(color, _WHITE, 0.45)),
        (head(shapes.iris(face, True, side, 0.45)), scaled(color, 0.22)),
        (
            head(
                ellipse(
                    shift + 0.22 * face.lit_side * width,
                    y - 0.42 * height,
                    0.2 * width,
                    0.24 * height,
                )
            ),
            _WHITE,
        ),
        (
            head(
                ellipse(
                    shift - 0.26 * face.lit_side * width,
                    y + 0.4 * height,
                    0.1 * width,
                    0.12 * height,
                )
            ),
            _WHITE,
        ),
    )
    lid = shapes.eye_lid(face, True, side)
    wing = lid[-1] + np.array([[side * 0.05, -0.07]])
    canvas.fill(head(brush(np.concatenate([lid, wing]), 0.1, 0.35, 0.3)), ink)
    floor = shapes.eye_floor(face, True, side)[2:16]
    canvas.fill(head(brush(floor, 0.04, 0.5, 0.1)), ink)


def _draw_nose_and_mouth(canvas: Canvas, face: Face, ink: Color) -> None:
    head, skin = face.pose.head, face.skin_color(flat=True)
    shadow = points((-0.015, 0.4), (0.07, 0.43), (0.0, 0.47), (-0.06, 0.45))
    canvas.fill(head(flip(shadow, -face.lit_side)), mixed(_shaded(skin), ink, 0.4))
    line, _, lower = shapes.mouth(face, True)
    if face.smile > 0.55:
        canvas.fill(head(np.concatenate([line, lower[::-1]])), (0.72, 0.22, 0.26))
        canvas.fill(head(brush(lower, 0.035, 0.8, 0.8)), ink)
    canvas.fill(head(brush(line, 0.055, 0.3, 0.3)), mixed(ink, (0.6, 0.15, 0.2), 0.3))


def _draw_hair(canvas: Canvas, face: Face, ink: Color) -> None:
    head, color = face.pose.head, face.hair_rgb(flat=True)
    path = head(hair.front(face, toon=True))
    canvas.fill(path, color)
    clip = canvas.stencil(path)
    light_part = hair.front(face, toon=True) * np.array([0.93, 0.97])
    light_part += np.array([0.11 * face.lit_side, -0.06])
    canvas.clipped(
        clip,
        (head(ellipse(0, -0.3, 3, 3)), scaled(color, 0.78)),
        (head(light_part), color),
        (head(flip(hair.shine(), face.lit_side)), mixed(color, _WHITE, 0.38)),
    )
    for strand in hair.strands(face):
        canvas.fill(head(brush(strand, 0.05, 0.1, 0.8)), mixed(color, ink, 0.75))
    canvas.line(np.concatenate([path, path[:2]]), ink, _OUTLINE)


def _draw_glasses(canvas: Canvas, face: Face, ink: Color) -> None:
    head = face.pose.head
    for side in _SIDES:
        rim = head(shapes.glass(face, True, side))
        canvas.line(np.concatenate([rim, rim[:2]]), ink, _OUTLINE * 0.9)
    y = shapes.eye_center(face, True, 1)[1]
    canvas.line(
        head(points((-0.09, y - 0.06), (0, y - 0.1), (0.09, y - 0.06))), ink, _OUTLINE * 0.9
    )
