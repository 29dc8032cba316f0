"""From colours to classes: a generated label map has no class but the nearest colour's."""

import numpy as np

from zoo.registry import UserError

_ROWS = 2**16  # pixels whose distances to all colours are held at a time
_NEAR = 40.0  # RGB levels within which a pixel has a colour of the palette
_ALMOST_ALL = 0.9


def nearest_class(picture: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The class of every pixel: that of the nearest colour in RGB, the first of equally near ones.

    Args:
        picture: uint8 H W 3.
        palette: uint8 (classes, 3).

    Returns:
        uint8 H W.
    """
    return _nearest(picture, palette)[0]


def looks_like_labels(picture: np.ndarray, palette: np.ndarray) -> bool:
    """Whether nearly all pixels have a colour of the palette, or the black of the unlabelled."""
    colors = np.concatenate([palette, np.zeros((1, 3), np.uint8)])
    distance = _nearest(picture, colors)[1]
    return float((distance <= _NEAR**2).mean()) >= _ALMOST_ALL


def colored(mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """A mask, H W, in the colours of its classes, uint8 H W 3; what is ignored is black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[mask]


def checked_palette(colors: np.ndarray, classes: int) -> np.ndarray:
    """A palette with one colour of its own for each class, uint8 (classes, 3).

    Raises:
        UserError: it has not.
    """
    palette = np.asarray(colors, np.uint8).reshape(-1, 3)
    if len(palette) != classes or len(np.unique(palette, axis=0)) < classes:
        raise UserError(
            f"colors has {len(palette)} entries for {classes} classes; each class needs one of "
            f"its own"
        )
    return palette


def _nearest(picture: np.ndarray, palette: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest colour of every pixel, uint8 H W, and its squared distance, int64 H W."""
    pixels = picture.reshape(-1, 3).astype(np.int64)
    colors = palette.astype(np.int64)
    found = np.empty(len(pixels), np.uint8)
    distance = np.empty(len(pixels), np.int64)
    for start in range(0, len(pixels), _ROWS):
        part = pixels[start : start + _ROWS]
        squared = ((part[:, None, :] - colors[None]) ** 2).sum(2)
        found[start : start + _ROWS] = squared.argmin(1)
        distance[start : start + _ROWS] = squared.min(1)
    return found.reshape(picture.shape[:2]), distance.reshape(picture.shape[:2])
