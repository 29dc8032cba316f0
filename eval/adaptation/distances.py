"""How far each style is from the target, beside the scores: FID, KID, and a look."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.adaptation.styles import Styles
from eval.checks import MetricError
from eval.distances import frechet_distance
from eval.features import create_extractor
from eval.metrics.kid import kernel_distance
from eval.scores import write_whole
from eval.tasks.data import TaskData
from zoo.images import grid, resize, write_image

MOST_IMAGES = 2000  # of either side that FID and KID look at
_ROWS = 6  # of the grid


def distances(
    styles: Styles,
    names: Sequence[str],
    target: TaskData,
    target_digest: str,
    extractor_name: str,
    out: Path,
) -> dict[str, Any]:
    """FID and KID of each style to images of the target, those computed before from disk.

    Args:
        styles: the source in all of them.
        names: of the styles wanted.
        target: the target's training images.
        target_digest: changes with them.
        extractor_name: see `eval.features`.
        out: folder with `distances.json`.

    Returns:
        `extractor`, `comparable`, and `styles`: name -> `fid`, `kid`, numbers of images.
    """
    extractor = create_extractor(extractor_name)
    path = out / "distances.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    features = None
    found: dict[str, Any] = {}
    for name in names:
        key = f"{extractor.name} {styles[name].identity} {target_digest}"
        if key not in kept:
            features = extractor(_some(target)) if features is None else features
            kept[key] = _both(extractor(_some(styles[name].data)), features)
            write_whole(path, json.dumps(kept, indent=1) + "\n")
        found[name] = kept[key]
    return {"extractor": extractor.name, "comparable": extractor.comparable, "styles": found}


def _both(features: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    counts = {"num_images": len(features), "num_target": len(target)}
    try:
        kid = kernel_distance(features, target)
        fid = frechet_distance(features, target)
    except MetricError as error:
        return counts | {"fid": None, "kid": None, "unavailable": str(error)}
    return counts | {"fid": fid, "kid": kid.mean, "subset_size": kid.subset_size}


def _some(data: TaskData) -> list[np.ndarray]:
    count = min(len(data), MOST_IMAGES)
    return [data.image_of(i * len(data) // count) for i in range(count)]


def write_samples(styles: Styles, names: Sequence[str], target: TaskData, file: Path) -> None:
    """A grid: the same source images in every style, and images of the target."""
    source = styles["source"].data
    count = min(_ROWS, len(source), len(target))
    height = min(max(source.image_of(0).shape[0], 64), 256)
    chosen = [i * len(source) // count for i in range(count)]
    columns = [[styles[name].data.image_of(i) for i in chosen] for name in names]
    columns.append([target.image_of(i * len(target) // count) for i in range(count)])
    rows = [[_at_height(column[i], height) for column in columns] for i in range(count)]
    write_image(file, grid(rows, [*names, "target"]))


def _at_height(image: np.ndarray, height: int) -> np.ndarray:
    return resize(image, (height, max(round(image.shape[1] * height / image.shape[0]), 1)))
