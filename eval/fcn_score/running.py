"""Scores a run's translations between photos and label maps, both directions."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.fcn_score.colors import looks_like_labels
from eval.fcn_score.scenes import Scenes, load_scenes, of_dataset
from eval.fcn_score.scoring import (
    CHANCE,
    REAL,
    RESAMPLES,
    RUN,
    UNTRANSLATED,
    Row,
    chance_rows,
    found_in_colors,
    records,
)
from eval.fcn_score.segmenter import Segmenter, check_reads, load_segmenter
from eval.runner import translate_images, undisturbed_random
from eval.scores import installed_versions, write_whole
from zoo.data._cityscapes import PALETTE
from zoo.images import printable, resize
from zoo.registry import UserError
from zoo.translation import Run, load_run

FORMAT = 1
FILE = "fcn_score.json"
TO_PHOTO, TO_LABELS = "labels to photo", "photo to labels"
NOTE = (
    "Comparable only with scores by the same segmenter on the same scenes, and with no published "
    "table: those are by an FCN-8s of Caffe (zoo show sweeps table2_cityscapes)."
)
NOTE_COLORS = (
    "Read by the nearest colour, as in Zhu et al. 2017, Table 3 (zoo show sweeps "
    "table3_cityscapes); comparable with it on Cityscapes' validation photos only."
)
_LOOKED_AT = 4  # pictures of a side, to see whether they are label maps


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be scored.

    Attributes:
        run: run folder, or the name of a shipped one.
        segmenter: its folder; None: for runs that make label maps only.
        data: as for `load_scenes`; None: the run's own.
        labels: the domain of label maps, "a" or "b"; None: what looks like it.
        num_images: scenes, evenly spaced; 0: all.
        weights: "auto", "raw" or "ema".
        checkpoint: "latest" or "best".
        seed: of the intervals' resamples, and of whatever is random in a translation.
    """

    run: str | Path
    segmenter: Path | None
    data: str | Path | None = None
    labels: str | None = None
    num_images: int = 0
    weights: str = "auto"
    checkpoint: str = "latest"
    seed: int = 0


def fcn_score(request: Request, out: Path | None = None) -> dict[str, Any]:
    """Score every direction that a run has and write `fcn_score.json`, whole or not at all.

    Args:
        request: what to score.
        out: folder to write into instead of the run's; needed for a shipped run.

    Returns:
        What the file holds.

    Raises:
        UserError: no such run, segmenter or data; a segmenter that may not score; or it is not
            known which domain holds label maps.
    """
    run = load_run(request.run, weights=request.weights, checkpoint=request.checkpoint)
    if run.shipped and out is None:
        raise UserError(f"{run.folder.name} is a shipped run; name a folder for its scores (out)")
    side = _label_side(run, request.labels)
    segmenter = None
    if side == "a" or "b2a" in run.directions:
        segmenter = _needed(request.segmenter, run)
    directions = {}
    for direction in run.directions:
        scenes = _scenes(run, request, direction).evenly(request.num_images)
        if len(scenes) < 2:
            raise UserError(f"{scenes.name} is {len(scenes)} scene; a score needs at least 2")
        with undisturbed_random(request.seed):
            if direction[0] == side:
                assert segmenter is not None
                directions[direction] = _to_photo(run, direction, scenes, segmenter, request.seed)
            else:
                directions[direction] = _to_labels(run, direction, scenes, request.seed)
    content = {
        "format": FORMAT,
        "run": {
            "weights": run.weights,
            "checkpoint": "shipped" if run.shipped else request.checkpoint,
            "images_seen": run.images_seen,
            "size": run.recipe.data.config.size,
        },
        "directions": directions,
        "resamples": RESAMPLES,
        "seed": request.seed,
        "versions": dict(installed_versions()),
    }
    folder = Path(out or run.folder)
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(folder / FILE, text + "\n")
    except OSError as error:
        raise UserError(f"cannot write {FILE} into {printable(folder)}: {error}") from error
    return content


def _needed(folder: Path | None, run: Run) -> Segmenter:
    if folder is None:
        raise UserError(
            f"{run.folder} makes photos of label maps, which a segmenter has to read: --segmenter "
            f"FOLDER, as `zoo fcn train` makes it"
        )
    return load_segmenter(folder)


def _scenes(run: Run, request: Request, direction: str) -> Scenes:
    if request.data is None:
        return of_dataset(run.recipe.data, "test", direction[0])
    return load_scenes(request.data, "test", direction[0])


def _label_side(run: Run, chosen: str | None) -> str:
    """The domain that holds label maps.

    Raises:
        UserError: pictures of both or of none look like it, or a drawn data set has another.
    """
    known = getattr(run.dataset(), "label_side", None)
    if known is not None:
        if chosen not in (None, known):
            raise UserError(f"--labels is {chosen}, but {run.folder} has them in {known}")
        return known
    if chosen is not None:
        return chosen
    found = []
    for side in ("a", "b"):
        domain = run.dataset().domain("test", side)
        pictures = [domain[i] for i in range(min(_LOOKED_AT, len(domain)))]
        if all(p.shape[2] == 3 and looks_like_labels(p, PALETTE) for p in pictures):
            found.append(side)
    if len(found) != 1:
        raise UserError(
            f"the test images of {'both domains' if found else 'neither domain'} of {run.folder} "
            f"have Cityscapes' colours; say which holds label maps: --labels a or --labels b"
        )
    return found[0]


def _to_photo(
    run: Run, direction: str, scenes: Scenes, segmenter: Segmenter, seed: int
) -> dict[str, Any]:
    """Label maps made photos, read by a segmenter."""
    size = run.recipe.data.config.size
    rows = segmenter.rows(scenes, scenes.photo_of, REAL)
    rows += chance_rows(scenes)
    check_reads(rows, scenes.name)
    sources = [scenes.picture_of(i, size) for i in range(len(scenes))]
    fakes = list(translate_images(run.translate_batch, sources, direction))
    rows += segmenter.rows(scenes, fakes.__getitem__, RUN)
    rows += segmenter.rows(scenes, sources.__getitem__, UNTRANSLATED)
    own = segmenter.manifest
    real = next(row for row in own["rows"] if row["row"] == REAL)
    return _direction(TO_PHOTO, scenes, rows, seed) | {
        "note": NOTE,
        "segmenter": {
            "sha256": own["sha256"],
            "model": own["recipe"]["model"],
            "side": segmenter.side,
            "resolution": segmenter.resolution,
            "trained_at": own["resolution"],
            "data": own["data"],
            "real": {name: real[name] for name in ("pixel_accuracy", "class_accuracy", "mean_iou")},
        },
    }


def _to_labels(run: Run, direction: str, scenes: Scenes, seed: int) -> dict[str, Any]:
    """Photos made label maps, read by the nearest colour."""
    size, palette = run.recipe.data.config.size, scenes.palette
    if palette is None:
        raise UserError(f"{scenes.name}: no colours are known of its classes; set colors")
    sources = [resize(scenes.photo_of(i), size) for i in range(len(scenes))]
    maps = (scenes.picture_of(i, size) for i in range(len(scenes)))
    fakes = translate_images(run.translate_batch, sources, direction)
    sets: dict[str, Iterable[np.ndarray]] = {REAL: maps, RUN: fakes, UNTRANSLATED: sources}
    rows = [
        row
        for name, pictures in sets.items()
        for row in found_in_colors(scenes, pictures, palette, name)
    ]
    rows += chance_rows(scenes)
    return _direction(TO_LABELS, scenes, rows, seed) | {"note": NOTE_COLORS, "segmenter": None}


def _direction(task: str, scenes: Scenes, rows: list[Row], seed: int) -> dict[str, Any]:
    order = [REAL, RUN, UNTRANSLATED, *CHANCE]
    rows.sort(key=lambda row: order.index(row.name))
    return {
        "task": task,
        "data": scenes.name,
        "data_sha256": scenes.digests()[0],
        "images": len(scenes),
        "label_size": list(scenes.mask_of(0).shape),
        "rows": records(rows, scenes, seed),
    }
