"""Hair as polygons in head coordinates, for both styles.

A webtoon's hair is the photo's with more volume (about a fifth), a lower fringe and pointed locks.
"""

import numpy as np

from zoo.data._toonfaces.face import Face
from zoo.data._toonfaces.raster import Points, ellipse, flip, mirrored, points, scallops, smooth

_CAP = points((0, -1.5), (0.55, -1.41), (0.92, -1.1), (1.09, -0.55), (1.08, -0.02))
_TOON_CAP = points((0, -1.76), (0.65, -1.65), (1.12, -1.25), (1.31, -0.6), (1.25, 0.12))

# Photo: points of the hairline from the right temple to the left, parting on the right (x > 0).
_HAIRLINES = {
    "straight": points(
        (0.99, -0.02), (0.86, -0.42), (0.5, -0.53), (0, -0.56), (-0.5, -0.53), (-0.86, -0.42),
        (-0.99, -0.02),
    ),
    "swept": points(
        (0.99, -0.02), (0.85, -0.5), (0.6, -0.86), (0.4, -0.95), (0.05, -0.74), (-0.45, -0.56),
        (-0.85, -0.4), (-0.99, -0.02),
    ),
    "parted": points(
        (0.99, 0.0), (0.88, -0.4), (0.55, -0.72), (0.18, -0.98), (0.1, -0.98), (-0.3, -0.74),
        (-0.75, -0.48), (-0.99, 0.0),
    ),
    "back": points(
        (0.99, -0.05), (0.86, -0.55), (0.55, -0.82), (0, -0.92), (-0.55, -0.82), (-0.86, -0.55),
        (-0.99, -0.05),
    ),
    "curly": points(
        (1.0, 0.0), (0.85, -0.45), (0.5, -0.62), (0, -0.7), (-0.5, -0.62), (-0.85, -0.45),
        (-1.0, 0.0),
    ),
}  # fmt: skip
# Webtoon: alternating tips and gaps of the locks, in the same order.
_LOCKS = {
    "straight": points(
        (1.0, 0.3), (0.86, -0.3), (0.66, -0.12), (0.5, -0.34), (0.24, -0.12), (0.06, -0.36),
        (-0.2, -0.12), (-0.36, -0.34), (-0.6, -0.1), (-0.84, -0.3), (-1.0, 0.3),
    ),
    "swept": points(
        (1.0, 0.25), (0.9, -0.3), (0.74, -0.25), (0.62, -0.55), (0.42, -0.72), (0.2, -0.35),
        (0.02, -0.22), (-0.12, -0.38), (-0.42, -0.12), (-0.56, -0.3), (-0.8, -0.02),
        (-0.88, -0.25), (-1.02, 0.3),
    ),
    "parted": points(
        (1.02, 0.42), (0.9, -0.15), (0.74, -0.02), (0.55, -0.36), (0.42, -0.28), (0.14, -0.76),
        (-0.22, -0.3), (-0.4, -0.38), (-0.66, -0.04), (-0.86, -0.18), (-1.02, 0.42),
    ),
    "back": points(
        (1.02, 0.45), (0.9, -0.2), (0.7, -0.42), (0.45, -0.56), (0.05, -0.62), (-0.4, -0.57),
        (-0.7, -0.42), (-0.9, -0.2), (-1.02, 0.45),
    ),
    "curly": points(
        (1.02, 0.1), (0.88, -0.2), (0.6, -0.32), (0.25, -0.36), (-0.1, -0.4), (-0.42, -0.34),
        (-0.7, -0.26), (-0.9, -0.15), (-1.02, 0.1),
    ),
}  # fmt: skip


def _fringe(face: Face) -> str:
    return {"bun": "back", "curly": "curly"}.get(face.hair, face.fringe)


def hairline(face: Face, toon: bool) -> Points:
    """Return the edge of the hair on the forehead, from one temple to the other."""
    name = _fringe(face)
    if not toon:
        line = smooth(_HAIRLINES[name])
    elif name == "curly":
        line = scallops(_LOCKS[name], -0.3)
    elif name == "back":
        line = smooth(_LOCKS[name])
    else:
        line = scallops(_LOCKS[name], -0.1)
    return line if face.part > 0 else flip(line)[::-1]


def _cap(face: Face, toon: bool) -> Points:
    """Return the upper edge of the hair, from the left temple over the top to the right."""
    if face.hair == "curly":
        radius, top = (1.52, 14) if toon else (1.3, 18)
        angles = np.linspace(-0.55, np.pi + 0.55, top)
        ring = np.stack([-np.cos(angles) * radius, -np.sin(angles) * radius * 1.02 - 0.35], 1)
        return scallops(ring, 0.3 if toon else 0.2)
    if face.hair == "short" and toon:
        tips = points(
            (0, -1.62), (0.22, -1.86), (0.42, -1.56), (0.84, -1.66), (0.86, -1.34), (1.26, -1.22),
            (1.12, -0.95), (1.44, -0.6), (1.2, -0.45), (1.38, -0.05), (1.14, 0.0), (1.2, 0.3),
        )  # fmt: skip
        return scallops(mirrored(tips), -0.1)
    if face.hair == "short":
        return smooth(mirrored(_CAP * np.array([1.0, 0.98])))
    return smooth(mirrored(_TOON_CAP if toon else _CAP))


def crown(face: Face, toon: bool) -> float:
    """Return the height of the hair above the middle of the face."""
    return -float(_cap(face, toon)[:, 1].min())


def front(face: Face, toon: bool) -> Points:
    """Return the hair before the forehead."""
    line = hairline(face, toon)
    cap = _cap(face, toon)
    if line[0, 0] < 0:
        line = line[::-1]
    return np.concatenate([cap, line])


def _ends(half: Points, tips: Points, bulge: float) -> Points:
    """Return a symmetric shape: smooth right side, then pointed ends from right to left."""
    sides = smooth(half)
    ends = scallops(np.concatenate([sides[-1:], tips, flip(tips[::-1]), flip(sides[-1:])]), bulge)
    return np.concatenate([sides, ends[1:-1], flip(sides[::-1])])


def back(face: Face, toon: bool) -> list[Points]:
    """Return the hair behind the head."""
    if face.hair == "bob":
        if toon:
            half = points(
                (0, -1.7), (0.7, -1.6), (1.2, -1.15), (1.42, -0.3), (1.48, 0.5), (1.3, 1.2)
            )
            return [_ends(half, points((1.02, 0.92), (0.8, 1.18), (0.5, 0.95)), 0.1)]
        half = points(
            (0, -1.45), (0.6, -1.35), (1.02, -0.95), (1.2, -0.2), (1.24, 0.5), (1.06, 1.05)
        )
        return [_ends(half, points((0.7, 1.1), (0.4, 1.0)), 0)]
    if face.hair == "long":
        if toon:
            half = points(
                (0, -1.7),
                (0.7, -1.6),
                (1.2, -1.15),
                (1.4, -0.3),
                (1.5, 0.8),
                (1.62, 2.0),
                (1.5, 3.1),
            )
            return [_ends(half, points((1.25, 2.6), (1.0, 3.2), (0.6, 2.7)), 0.1)]
        half = points(
            (0, -1.45),
            (0.6, -1.35),
            (1.02, -0.95),
            (1.18, -0.2),
            (1.24, 0.8),
            (1.3, 1.9),
            (1.15, 2.75),
        )
        return [_ends(half, points((0.8, 2.85), (0.4, 2.7)), 0)]
    if face.hair == "bun":
        knot = (
            (0.3 * face.part, -1.78, 0.56, 0.5) if toon else (0.25 * face.part, -1.55, 0.42, 0.38)
        )
        return [ellipse(*knot)]
    if face.hair == "curly":
        radius, count = (1.5, 15) if toon else (1.3, 18)
        angles = np.arange(count + 1) * (2 * np.pi / count)
        ring = np.stack([np.sin(angles) * radius, -np.cos(angles) * radius - 0.05], 1)
        return [scallops(ring, 0.3 if toon else 0.2)]
    if face.hair == "twintails":
        if toon:
            tail = points((1.1, -0.85), (1.6, -0.95), (1.98, -0.3), (1.95, 0.6), (1.6, 1.65))
            ends = scallops(
                points((1.6, 1.65), (1.52, 1.1), (1.3, 1.3), (1.22, 0.7), (1.1, -0.3)), 0.08
            )
        else:
            tail = points((1.02, -0.75), (1.35, -0.8), (1.6, -0.3), (1.6, 0.5), (1.4, 1.25))
            ends = smooth(points((1.4, 1.25), (1.15, 0.9), (1.08, 0.4), (1.05, -0.2)))
        shape = np.concatenate([smooth(tail), ends[1:]])
        return [shape, flip(shape)]
    nape = (
        points((1.05, -0.2), (1.0, 0.5), (0.6, 0.95))
        if not toon
        else points((1.2, -0.1), (1.02, 0.55), (0.5, 0.9))
    )
    return [mirrored(smooth(nape))]


def shine() -> Points:
    """Return the band of light on a webtoon's hair, its lower edge toothed."""
    teeth = points(
        (0.85, -0.98),
        (0.62, -0.9),
        (0.52, -1.14),
        (0.3, -1.0),
        (0.16, -1.24),
        (-0.06, -1.04),
        (-0.22, -1.22),
        (-0.42, -0.98),
        (-0.56, -1.12),
        (-0.72, -0.88),
        (-0.85, -0.98),
    )
    upper = smooth(points((-0.85, -0.98), (-0.5, -1.27), (0, -1.38), (0.5, -1.27), (0.85, -0.98)))
    return np.concatenate([upper, teeth[1:]])


def strands(face: Face) -> list[Points]:
    """Return the inner lines of a webtoon's hair, from the parting to the gaps of the fringe."""
    name = _fringe(face)
    gaps = _LOCKS[name][1:-1:2] if name != "curly" else _LOCKS[name][2:-2:2]
    root = np.array([0.3 if name == "swept" else 0.1, -1.55])
    lines = []
    for x, y in gaps[np.abs(gaps[:, 0]) < 0.95]:
        start = root + (np.array([x, y]) - root) * 0.45
        middle = root + (np.array([x, y]) - root) * 0.75 + np.array([0.07 * np.sign(x), -0.03])
        lines.append(flip(smooth(np.array([start, middle, [x, y]])), face.part))
    return lines
