"""No test image of the target may have been trained on, by the translator or by a task's network.

Images are compared by their pixels: files as they are decoded, and what is drawn at the size that
the task sees; images that a data set of Zoo draws also by their ids. A copy that was resized or
compressed anew is another image to this check.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.adaptation.hashes import Hashes
from eval.adaptation.recipe import Translator
from eval.tasks.data import TaskData
from eval.tasks.drawn import image_ids
from zoo.recipe import load_recipe
from zoo.registry import UserError
from zoo.runs import find_run

log = logging.getLogger("eval.adaptation")

SHOWN = 8


class Leak(UserError):
    """Test images were trained on."""


def check_leaks(
    test: TaskData,
    trained_on: dict[str, TaskData],
    translator: Translator | None,
    hashes: Hashes,
) -> dict[str, Any]:
    """Refuse a test set that shares images with what was trained on.

    Args:
        test: the target's test images.
        trained_on: by name, what tasks' networks are trained on.
        translator: of the recipe.
        hashes: of images.

    Returns:
        What was compared, for the record: `checked` names of sets with their numbers of images,
        `unchecked` reasons why a set could not be compared.

    Raises:
        Leak: with the files, or ids, of both sides.
    """
    checked, unchecked = dict(trained_on), []
    if translator is not None and translator.run:
        try:
            checked |= dict(_run_images(translator))
        except UserError as error:
            unchecked.append(f"what {translator.run} was trained on: {error}")
    elif translator is not None:
        unchecked.append(f"what the translator of {translator.folder} was trained on is not known")
    found: list[str] = []
    for name, data in checked.items():
        found += _shared(test, data, name, hashes)
    if found:
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise Leak(
            f"{len(found)} test images of the target were trained on, so a score on them would "
            f"mean nothing:\n  " + "\n  ".join([*found[:SHOWN], *more])
        )
    for reason in unchecked:
        log.warning("not checked for leaks: %s", reason)
    return {"checked": {n: len(data) for n, data in checked.items()}, "unchecked": unchecked}


def _shared(test: TaskData, other: TaskData, name: str, hashes: Hashes) -> list[str]:
    """One line for each test image that is in the other set."""
    both_files = test.files is not None and other.files is not None
    digests = [
        hashes.native(data) if both_files else hashes.at_size(data) for data in (test, other)
    ]
    known: dict[str, int] = {}
    for i, digest in enumerate(digests[1]):
        known.setdefault(digest, i)
    ids = {} if test.files is not None else {image_id: i for i, image_id in enumerate(other.ids)}
    lines = []
    for i, digest in enumerate(digests[0]):
        place = known.get(digest, ids.get(test.ids[i]))
        if place is not None:
            lines.append(f"{_where(test, i)} of target_test is {_where(other, place)} of {name}")
    return lines


def _where(data: TaskData, index: int) -> str:
    return str(data.files[index]) if data.files is not None else data.ids[index]


def _run_images(translator: Translator) -> Iterator[tuple[str, TaskData]]:
    """The images that a run was trained on, and for its best checkpoint also chosen by.

    Raises:
        UserError: they are not known, or not there.
    """
    recipe = load_recipe(find_run(translator.run) / "recipe.yaml")
    if "imported" in recipe.provenance:
        raise UserError("it was imported from a checkpoint that does not say")
    dataset = recipe.data.build()
    splits = ["train", "test"] if translator.checkpoint == "best" else ["train"]
    for split in splits:
        for side in "ab":
            domain = dataset.domain(split, side)
            paths = getattr(domain, "paths", None)
            if paths is not None and len(set(paths)) == len(paths):
                files: tuple[Path, ...] | None = tuple(paths)
                ids: Sequence[str] = [str(path) for path in paths]
            else:
                files, ids = None, image_ids(recipe.data, split, side, domain.names)
            name = f"the run's {split} images ({side})"
            yield name, TaskData(None, (), tuple(ids), _getter(domain), _no_label, files)


def _getter(domain: Any) -> Any:
    def image_of(i: int) -> np.ndarray:
        return domain[i]

    return image_of


def _no_label(_: int) -> int:
    raise AssertionError("these images have no labels")
