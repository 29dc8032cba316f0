"""Translates the source once, to PNG files with a manifest that says what made them of what."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from eval.adaptation.hashes import Hashes
from eval.adaptation.recipe import Translator
from eval.scores import write_whole
from eval.tasks.data import TaskData
from zoo.checkpoint import sha256_of
from zoo.images import list_images, read_image, resize, to_tensor, to_uint8, write_image
from zoo.registry import UserError, nearest
from zoo.runs import find_run, read_weights
from zoo.translation import Run, load_run
from zoo.typed import to_plain

log = logging.getLogger("eval.adaptation")

MANIFEST = "manifest.json"
FORMAT = 1
_BATCH = 8
_SAME_SHAPE = 0.02  # difference of width / height that rounding to pixels explains


class Translated(NamedTuple):
    """The source in the target's style.

    Attributes:
        image_of: the translation by the source's position, of the source image's size.
        origin: what made them: the generator and its hash, or the folder.
    """

    image_of: Callable[[int], np.ndarray]
    origin: dict[str, Any]


def translated(translator: Translator, source: TaskData, out: Path, hashes: Hashes) -> Translated:
    """The translations of all source images, from `out` where they are there already.

    Raises:
        UserError: no such run or direction, images are missing, or `out` holds translations of
            other images or by another generator.
    """
    if translator.folder:
        return _from_folder(translator, source)
    origin = _generator(translator)
    digests = dict(zip(source.ids, hashes.native(source), strict=True))
    folder = out / "translated"
    if folder.is_dir():
        _check_manifest(folder, origin, digests)
    else:
        _translate(translator, source, folder, origin, digests)
    files = [_png(folder, name) for name in source.ids]
    return Translated(lambda i: read_image(files[i]), origin)


def _generator(translator: Translator) -> dict[str, Any]:
    """What identifies a generator."""
    stored = read_weights(find_run(translator.run), translator.weights, translator.checkpoint)
    return {
        "run": translator.run,
        "direction": translator.direction,
        "weights": stored.kind,
        "checkpoint": translator.checkpoint,
        "images_seen": stored.images_seen,
        "sha256": sha256_of(stored.file),
        "size": to_plain(translator.size),
        "seed": translator.seed,
    }


def _identity(origin: dict[str, Any]) -> dict[str, Any]:
    """Without the path, which may change."""
    return {name: value for name, value in origin.items() if name != "run"}


def _check_manifest(folder: Path, origin: dict[str, Any], digests: dict[str, str]) -> None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        other, images = manifest["generator"], manifest["images"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} has no readable {MANIFEST} ({error}); delete {folder}") from None
    if _identity(other) != _identity(origin):
        differing = [k for k, v in _identity(origin).items() if other.get(k) != v]
        raise UserError(
            f"{folder} was made by another generator ({', '.join(differing)} differ); choose "
            f"another --out, or delete {folder}"
        )
    for name, digest in digests.items():
        if images.get(name, {}).get("source") != digest or not _png(folder, name).is_file():
            raise UserError(
                f"{folder} has no translation of the source image {name} as it is now; choose "
                f"another --out, or delete {folder}"
            )


def _png(folder: Path, name: str) -> Path:
    return folder / f"{name}.png"


def _translate(
    translator: Translator,
    source: TaskData,
    folder: Path,
    origin: dict[str, Any],
    digests: dict[str, str],
) -> None:
    """Translate aside and rename; what an interrupted call by the same generator left is kept."""
    aside = folder.with_name(f".{folder.name}.unfinished")
    made_by = aside / "generator.json"
    if aside.is_dir() and (
        not made_by.is_file() or _identity(json.loads(made_by.read_text())) != _identity(origin)
    ):
        raise UserError(f"{aside} was begun by another generator; delete it")
    write_whole(made_by, json.dumps(origin))
    run = load_run(translator.run, weights=translator.weights, checkpoint=translator.checkpoint)
    if translator.direction not in run.directions:
        raise UserError(
            f"translator.direction is {translator.direction}, and {translator.run} translates "
            f"{' and '.join(run.directions)} only"
        )
    channels = run.recipe.data.config.channels
    if channels != (3, 3):
        raise UserError(f"{translator.run} translates images of {channels} channels, not of 3")
    log.info("translating %d source images with %s", len(source), translator.run)
    sizes: dict[str, list[int]] = {}
    for chunk in _chunks(source):
        sizes |= {source.ids[i]: list(image.shape[:2]) for i, image in chunk}
        todo = [(i, image) for i, image in chunk if not _png(aside, source.ids[i]).is_file()]
        if not todo:
            continue
        with torch.random.fork_rng():
            torch.manual_seed(translator.seed + todo[0][0])
            results = _through(run, [image for _, image in todo], translator)
        for (i, _), result in zip(todo, results, strict=True):
            write_image(_png(aside, source.ids[i]), result)
    images = {name: {"source": digest, "size": sizes[name]} for name, digest in digests.items()}
    manifest = {"format": FORMAT, "generator": origin, "images": images}
    write_whole(aside / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    made_by.unlink()
    aside.rename(folder)


def _chunks(source: TaskData) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Images of one size that follow each other, by position."""
    chunk: list[tuple[int, np.ndarray]] = []
    for i in range(len(source)):
        image = source.image_of(i)
        if chunk and (len(chunk) == _BATCH or chunk[0][1].shape != image.shape):
            yield chunk
            chunk = []
        chunk.append((i, image))
    if chunk:
        yield chunk


def _through(run: Run, images: list[np.ndarray], translator: Translator) -> list[np.ndarray]:
    """Images of one size through the generator, back at their size."""
    size = images[0].shape[:2]
    if translator.size != "native":
        inner = run.recipe.data.config.size if translator.size == "resize" else translator.size
        images = [resize(image, inner) for image in images]
    batch = run.translate_batch(to_tensor(np.stack(images)), translator.direction)
    try:
        found = to_uint8(batch)
    except ValueError as error:  # NaN
        raise UserError(f"{translator.run} cannot translate: {error}") from error
    return [resize(image, (size[0], size[1])) for image in found]


def _from_folder(translator: Translator, source: TaskData) -> Translated:
    """Images translated elsewhere, brought to the source's sizes."""
    folder = Path(translator.folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"translator.folder {folder} is not a folder")
    found = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in list_images(folder, recursive=True)
    }
    missing = [name for name in source.ids if name not in found]
    if missing:
        near = nearest(missing[0], list(found)[:2000])
        raise UserError(
            f"translator.folder {folder} lacks {len(missing)} of the {len(source)} source images, "
            f"first {missing[0]}.{near}"
        )
    files = [found[name] for name in source.ids]

    def image_of(i: int) -> np.ndarray:
        image, size = read_image(files[i]), source.image_of(i).shape[:2]
        shapes = [image.shape[1] / image.shape[0], size[1] / size[0]]
        if abs(shapes[0] / shapes[1] - 1) > _SAME_SHAPE:
            raise UserError(
                f"{files[i]} is {image.shape[1]} x {image.shape[0]} and its source {size[1]} x "
                f"{size[0]}: labels would not fit a cut image"
            )
        return resize(image, (size[0], size[1]))

    return Translated(image_of, {"folder": str(folder), "images": _files_digest(files)})


def _files_digest(files: list[Path]) -> str:
    """Changes when a file does, by size and time."""
    text = [f"{path.name}|{path.stat().st_size}|{path.stat().st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]
