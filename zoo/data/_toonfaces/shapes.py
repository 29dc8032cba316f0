"""The parts of a face as polygons in head coordinates, for both styles.

Head coordinates have their origin between the eyes and the nose; their unit is half the width of
the face. Every function takes the face and `toon`: False for a photo's proportions, True for a
webtoon's (larger and lower eyes, smaller nose and mouth, a narrow pointed jaw).
"""

from dataclasses import dataclass

import numpy as np

from zoo.data._toonfaces.face import Face
from zoo.data._toonfaces.hair import crown, hairline
from zoo.data._toonfaces.raster import Points, area, ellipse, flip, mirrored, points, smooth


def outline(face: Face, toon: bool) -> Points:
    """Return the outline of the face from the forehead to the chin."""
    jaw = 0.07 * face.jaw
    if toon:
        half = points(
            (0, -1.3), (0.6, -1.15), (0.92, -0.75), (1.01, -0.3), (0.985, 0.05), (0.89, 0.33),
            (0.63 + jaw / 2, 0.66), (0.37 + jaw / 2, 0.9), (0.13 + jaw / 2, 1.07), (0, 1.1),
        )  # fmt: skip
    else:
        half = points(
            (0, -1.3), (0.6, -1.15), (0.9, -0.75), (0.985, -0.3), (1.0, 0.05), (0.96, 0.38),
            (0.83 + jaw, 0.74), (0.58 + jaw, 1.05), (0.28 + jaw, 1.25), (0, 1.3),
        )  # fmt: skip
    return smooth(mirrored(half)[:-1], closed=True)


def eye_center(face: Face, toon: bool, side: int) -> tuple[float, float]:
    """Return the middle of the eye on a side (-1 left in the picture, 1 right)."""
    return side * (face.eye_gap + (0.02 if toon else 0)), 0.07 if toon else -0.06


def eye_radii(face: Face, toon: bool) -> tuple[float, float]:
    """Return half the width and half the height of an open eye."""
    width, height = (0.27, 0.205) if toon else (0.225, 0.105)
    return width * face.eye_size, height * face.eye_size


def _eye_path(face: Face, toon: bool, side: int, path: Points) -> Points:
    x, y = eye_center(face, toon, side)
    return flip(path * np.array(eye_radii(face, toon)), side) + np.array([x, y])


def eye_lid(face: Face, toon: bool, side: int) -> Points:
    """Return the edge of the upper lid from the inner to the outer corner."""
    if toon:
        path = points((-1, 0.1), (-0.8, -0.6), (-0.25, -1), (0.4, -0.98), (0.86, -0.6), (1, -0.1))
    else:
        path = points((-1, 0.3), (-0.55, -0.6), (0, -1), (0.55, -0.8), (1, -0.05))
    return _eye_path(face, toon, side, smooth(path))


def eye_floor(face: Face, toon: bool, side: int) -> Points:
    """Return the edge of the lower lid from the outer to the inner corner."""
    if toon:
        path = points((1, -0.1), (0.82, 0.6), (0.35, 0.96), (-0.3, 0.95), (-0.78, 0.6), (-1, 0.1))
    else:
        path = points((1, -0.05), (0.5, 0.65), (-0.1, 0.85), (-0.65, 0.6), (-1, 0.3))
    return _eye_path(face, toon, side, smooth(path))


def eye(face: Face, toon: bool, side: int) -> Points:
    """Return the opening of an eye as a polygon."""
    return np.concatenate([eye_lid(face, toon, side), eye_floor(face, toon, side)[1:-1]])


def iris(face: Face, toon: bool, side: int, share: float = 1.0) -> Points:
    """Return the iris, or a share of its radius, before the lids clip it."""
    x, y = eye_center(face, toon, side)
    width, height = eye_radii(face, toon)
    rx, ry = (0.64 * width, 0.92 * height) if toon else (1.05 * height, 1.05 * height)
    return ellipse(x + face.gaze * 0.25 * width, y, rx * share, ry * share)


def brow(face: Face, toon: bool, side: int) -> Points:
    """Return the line of a brow from the nose outwards."""
    x, _ = eye_center(face, toon, side)
    lift = 0.06 * face.brows + 0.03 * face.smile
    y = (-0.31 if toon else -0.34) - lift
    path = points((-0.24, 0.07), (-0.05, -0.01), (0.13, -0.02), (0.28, 0.08))
    return flip(smooth(path), side) + np.array([x, y])


def mouth(face: Face, toon: bool) -> tuple[Points, Points, Points]:
    """Return the lips' line, the edge of the upper and that of the lower lip, left to right."""
    bend = 0.02 + 0.09 * face.smile
    gape = max(face.smile - 0.55, 0) * 0.3
    if toon:
        width, y = 0.14 + 0.1 * face.smile, 0.66
        line = smooth(points((-width, -bend * 0.8), (0, bend * 0.5), (width, -bend * 0.8)))
        above, below = (
            line,
            smooth(
                points(
                    (-width, -bend * 0.8),
                    (-width * 0.55, gape * 0.9),
                    (0, gape * 1.5),
                    (width * 0.55, gape * 0.9),
                    (width, -bend * 0.8),
                )
            ),
        )
    else:
        width, y = 0.31 + 0.08 * face.smile, 0.73
        line = smooth(
            points(
                (-width, -bend),
                (-width / 2, 0.0),
                (0, bend * 0.3),
                (width / 2, 0.0),
                (width, -bend),
            )
        )
        above = smooth(
            points((-width, -bend), (-0.1, -0.085), (0, -0.065), (0.1, -0.085), (width, -bend))
        )
        below = smooth(
            points(
                (-width, -bend),
                (-width * 0.55, 0.07 + gape * 0.7),
                (0, 0.11 + gape),
                (width * 0.55, 0.07 + gape * 0.7),
                (width, -bend),
            )
        )
    shift = np.array([0, y])
    return line + shift, above + shift, below + shift


def ear(toon: bool, side: int) -> Points:
    """Return an ear."""
    return ellipse(side * 1.0, 0.08, 0.15 if toon else 0.14, 0.24 if toon else 0.27)


def glass(face: Face, toon: bool, side: int) -> Points:
    """Return the rim of one glass."""
    x, y = eye_center(face, toon, side)
    rx, ry = (0.375, 0.32) if toon else (0.335, 0.27)
    if face.round_glasses:
        return ellipse(x, y, rx, ry)
    corner = points(
        (-1, -0.72),
        (0, -0.86),
        (1, -0.78),
        (1.02, 0),
        (0.78, 0.86),
        (0, 0.92),
        (-0.78, 0.86),
        (-1.02, 0),
    )
    return smooth(corner * np.array([rx, ry]), closed=True) + np.array([x, y])


def neck(toon: bool) -> Points:
    """Return the neck, in body coordinates."""
    half = (
        points((0.34, 0.6), (0.34, 1.35), (0.62, 1.7), (0.5, 2.4))
        if toon
        else points((0.56, 0.6), (0.54, 1.4), (0.85, 1.75), (0.6, 2.4))
    )
    return mirrored(half)


def shoulders(toon: bool) -> Points:
    """Return the shoulders with a round collar, in body coordinates."""
    if toon:
        collar = [(0, 2.0), (0.3, 1.9), (0.48, 1.62), (0.62, 1.62)]
        arm = [(1.2, 1.85), (1.62, 2.15), (1.78, 2.8), (1.85, 5)]
    else:
        collar = [(0, 2.05), (0.4, 1.95), (0.66, 1.68), (0.8, 1.66)]
        arm = [(1.5, 1.95), (2.05, 2.3), (2.3, 3.0), (2.4, 5)]
    return mirrored(smooth(points(*collar, *arm)))


@dataclass(frozen=True)
class Geometry:
    """Measures of one rendering, in fractions of the side of the picture.

    Attributes:
        eye_area: area of both open eyes, in squared sides.
        jaw: half-width of the face at the height of a photo's mouth.
        chin: distance of the chin from the middle of the face.
        hairline: mean distance of the hairline above the middle of the face, negative below.
        crown: distance of the top of the hair from the middle of the face.
    """

    eye_area: float
    jaw: float
    chin: float
    hairline: float
    crown: float


def geometry(face: Face, toon: bool) -> Geometry:
    """Measure a face in one of the two styles."""
    edge = outline(face, toon)
    lower_right = edge[(edge[:, 0] > 0) & (edge[:, 1] > 0)]
    order = np.argsort(lower_right[:, 1])
    jaw = np.interp(0.73, lower_right[order, 1], lower_right[order, 0])
    line = hairline(face, toon)
    order = np.argsort(line[:, 0])
    fringe = np.interp(np.linspace(-0.6, 0.6, 61), line[order, 0], line[order, 1]).mean()
    scale = face.pose.scale
    return Geometry(
        eye_area=sum(area(face.pose.head(eye(face, toon, side))) for side in (-1, 1)),
        jaw=float(jaw) * scale,
        chin=float(edge[:, 1].max()) * scale,
        hairline=-float(fringe) * scale,
        crown=crown(face, toon) * scale,
    )
