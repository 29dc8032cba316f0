"""Did the drawing change as a webtoon needs, and does the network look at the face?

Only for the data set `toonfaces`, where the parameters of every test face are known:

    python -m eval.drawn RUN [--num-images 64]
"""

from dataclasses import replace

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from zoo.data._toonfaces import shapes
from zoo.data._toonfaces.face import Face
from zoo.data._toonfaces.raster import Canvas
from zoo.data._toonfaces.toon import render_toon
from zoo.images import to_tensor, to_uint8
from zoo.registry import UserError
from zoo.translation import load_run

SCALES = np.arange(0.45, 1.26, 0.05)  # of the eyes, as tried; the photo's are 0.58


def eye_area(image: np.ndarray, face: Face) -> float:
    """Area of the eyes in an image, as a share of that in the true webtoon.

    The webtoon is drawn with eyes of every scale in `SCALES`; the one that differs least from
    the image around the eyes (mean absolute difference) is taken.

    Args:
        image: uint8 H W 3, square.
        face: whose webtoon the image should be.

    Returns:
        1 for the truth itself; a third is what the photo's eyes would be.
    """
    size = image.shape[0]
    window = _mask(size, [_enlarged(shapes.eye(face, True, side), 1.5) for side in (-1, 1)], face)
    distances = [
        np.abs(image.astype(float) - _with_eyes(face, scale, size))[window].mean()
        for scale in SCALES
    ]
    return float(SCALES[int(np.argmin(distances))] ** 2)


def attention_on_face(heatmap: np.ndarray, face: Face, size: int) -> float:
    """Mean heat inside the outline of the photo's face over the mean of the whole map.

    Args:
        heatmap: H W at the size of the image, any range; its minimum counts as no heat.
        face: whose photo was looked at.
        size: side of the image.

    Returns:
        1 if the network looks everywhere alike.
    """
    inside = _mask(size, [shapes.outline(face, False)], face)
    heat = heatmap - heatmap.min()
    return float(heat[inside].mean() / heat.mean())


def _with_eyes(face: Face, scale: float, size: int) -> np.ndarray:
    return render_toon(replace(face, eye_size=face.eye_size * float(scale)), size)


def _enlarged(path: np.ndarray, factor: float) -> np.ndarray:
    middle = path.mean(axis=0)
    return middle + (path - middle) * factor


def _mask(size: int, paths: list[np.ndarray], face: Face) -> np.ndarray:
    canvas = Canvas(size)
    for path in paths:
        canvas.fill(face.pose.head(path), (1.0, 1.0, 1.0))
    return canvas.pixels()[..., 0] > 127


def main(run: str, num_images: int = 64) -> None:
    """Print the area of the eyes and where the attention is, for a run on drawn faces."""
    trained = load_run(run, device="cpu")
    photos = trained.dataset().domain("test", "a")
    truths = trained.dataset().truth("a")
    if truths is None or not hasattr(photos, "face"):
        raise UserError(f"{run} was not trained on toonfaces, whose faces are known")
    count = min(num_images, len(photos))
    faces = [photos.face(i) for i in range(count)]
    x = to_tensor(np.stack([photos[i] for i in range(count)]))
    size = x.shape[-1]
    fakes = to_uint8(trained.translate_batch(x, "a2b"))
    table = Table("images", "eyes: area, as a share of the truth's", "at least half way")
    sets = {
        "photos": [photos[i] for i in range(count)],
        "translations": list(fakes),
        "truth": [truths[i] for i in range(count)],
    }
    for name, images in sets.items():
        areas = np.array([eye_area(image, face) for image, face in zip(images, faces, strict=True)])
        half = (areas >= (1 + 1 / 3) / 2).mean()
        table.add_row(
            name, f"median {np.median(areas):.2f}, mean {areas.mean():.2f}", f"{half:.0%}"
        )
    Console().print(table)
    heatmap = trained.heatmap(x, "a2b")
    if heatmap is not None:
        heat = torch.nn.functional.interpolate(heatmap, (size, size), mode="bilinear")[:, 0].numpy()
        shares = [attention_on_face(h, face, size) for h, face in zip(heat, faces, strict=True)]
        typer.echo(
            f"attention on the face: {np.mean(shares):.2f} times that on the whole image, "
            f"above 1 in {np.mean(np.array(shares) > 1):.0%} of the images"
        )


if __name__ == "__main__":
    typer.run(main)
