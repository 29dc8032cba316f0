"""A segmenter of real photos: trained once, stored with all that its scores depend on.

It sees every picture through the same path, whoever made it: brought to the translators' size
(256 pixels for Cityscapes), then scaled up to the size of the labels. So it is used to the blur
that a translated picture has (Isola et al. 2017 trained theirs like that).
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from eval.fcn_score.scenes import Scenes, load_scenes
from eval.fcn_score.scoring import (
    CHANCE,
    CONTROL,
    REAL,
    Row,
    chance_of,
    chance_rows,
    found_in_photos,
    records,
)
from eval.scores import installed_versions, write_whole
from eval.tasks.data import TASK_MODELS, TaskData, resize_mask, split
from eval.tasks.train import TaskTraining, predict, train_task
from zoo.images import printable, resize
from zoo.recipe import RecipeError, parse_override
from zoo.registry import Part, UserError, part
from zoo.schema import NOT_NEGATIVE, Bounds
from zoo.typed import Checker, merge, to_node, to_plain

log = logging.getLogger("eval.fcn_score")

FORMAT = 1
TIMES_CHANCE = 2.0  # real photos must be read so many times better than chance
WITHIN = 1.25  # and a network trained on shuffled labels at most so many times
_MANIFEST, _WEIGHTS = "segmenter.json", "weights.safetensors"
_KEPT_BYTES = 2**31


@dataclass(kw_only=True)
class SegmenterRecipe:
    """How a segmenter is made; `zoo fcn train DATA KEY=VALUE` sets these."""

    model: Part = part(TASK_MODELS, "unet")
    side: Annotated[
        int, "pixels that every picture is brought to first, as translators make them",
        Bounds(least=16),
    ] = 256  # fmt: skip
    resolution: Annotated[
        tuple[int, int] | None, "[height, width] it is then scaled up to; null: the labels' size"
    ] = None
    training: TaskTraining = field(
        default_factory=lambda: TaskTraining(steps=4000, batch=8, flip=0.5, validate_every=500)
    )
    validation: Annotated[
        float, "share of the training photos that chooses the step", Bounds(least=0.01, most=0.5)
    ] = 0.1
    seed: Annotated[int, "of weights and order", NOT_NEGATIVE] = 0


def segmenter_recipe(settings: Sequence[str], side: int | None) -> SegmenterRecipe:
    """The recipe with settings such as "training.steps=500".

    Args:
        settings: values as in YAML; later ones win.
        side: instead of 256, unless a setting names another.

    Raises:
        RecipeError: with every problem that was found.
    """
    checker = Checker()
    tree = to_node({} if side is None else {"side": side}, "data")
    for setting in settings:
        node = parse_override(setting, checker.problems)
        tree = merge(tree, node) if node else tree
    recipe = checker.config(SegmenterRecipe, tree, "", default=SegmenterRecipe())
    if checker.problems:
        raise RecipeError(checker.problems)
    return recipe


@dataclass
class Segmenter:
    """A network and what is known of it.

    Attributes:
        network: in evaluation mode; images N 3 H W in [-1, 1] to logits.
        classes: names of its classes.
        side: pixels that a picture is brought to first.
        resolution: (height, width) that it is then scaled up to; None: the labels' size.
        manifest: what its folder says of it.
    """

    network: nn.Module
    classes: tuple[str, ...]
    side: int
    resolution: tuple[int, int] | None
    manifest: dict[str, Any] = field(default_factory=dict)

    def seen(self, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A picture, uint8 H W 3, as the network gets it for labels of a size."""
        return resize(resize(picture, self.side), self.resolution or size)

    def segment(
        self, scenes: Scenes, picture_of: Callable[[int], np.ndarray]
    ) -> Iterator[np.ndarray]:
        """Yield the classes found in one picture of each scene, uint8 H W.

        Args:
            scenes: give the sizes of the labels.
            picture_of: uint8 H W 3 by position.
        """
        if scenes.classes != self.classes:
            raise UserError(
                f"the segmenter knows {len(self.classes)} classes ({', '.join(self.classes[:4])}, "
                f"…), {scenes.name} has {len(scenes.classes)} ({', '.join(scenes.classes[:4])}, …)"
            )

        def image_of(i: int) -> np.ndarray:
            height, width = scenes.mask_of(i).shape
            return self.seen(picture_of(i), (height, width))

        data = TaskData(None, self.classes, scenes.ids, image_of, lambda _: 0)
        return predict(self.network, data)

    def rows(self, scenes: Scenes, picture_of: Callable[[int], np.ndarray], name: str) -> list[Row]:
        """The row of one picture of each scene; with REAL also that of shuffled pairs."""
        return found_in_photos(scenes, self.segment(scenes, picture_of), name)


# Training ----------------------------------------------------------------------------------------


def train_segmenter(
    data: str | Path, out: Path, settings: Sequence[str] = (), cpu: bool = False
) -> dict[str, Any]:
    """Train a segmenter and write its folder, whole or not at all.

    Beside it a control learns the same photos with masks of others. Both are scored on the test
    photos, which nothing was learnt or chosen from.

    Args:
        data: as for `load_scenes`.
        out: folder to make.
        settings: fields of `SegmenterRecipe`, "training.steps=500".
        cpu: even where there is a GPU.

    Returns:
        The manifest. `faults` in it says why the segmenter may not score, if it may not.

    Raises:
        UserError: `out` exists, data are wrong, or settings.
    """
    if out.exists():
        raise UserError(f"{printable(out)} exists; choose another folder")
    train, test = load_scenes(data, "train"), load_scenes(data, "test")
    recipe = segmenter_recipe(settings, _own_side(train))
    train_hash, test_hash = _check_apart(train, test)
    size = recipe.resolution or train.mask_of(0).shape
    empty = Segmenter(nn.Identity(), train.classes, recipe.side, (size[0], size[1]))
    log.info("%d photos to learn, %d to test, seen at %s", len(train), len(test), size)
    segmenter, chosen = _trained(empty, train, recipe, cpu, shuffled=False)
    control, _ = _trained(empty, train, recipe, cpu, shuffled=True)
    rows = [*segmenter.rows(test, test.photo_of, REAL), *chance_rows(test)]
    rows += control.rows(test, test.photo_of, CONTROL)
    segmenter.manifest = {
        "format": FORMAT,
        "recipe": {name: to_plain(getattr(recipe, name)) for name in vars(recipe)},
        "resolution": list(size),
        "classes": list(train.classes),
        "step": chosen,
        "data": {
            "train": train.name, "train_photos": len(train), "train_sha256": train_hash,
            "test": test.name, "test_photos": len(test), "test_sha256": test_hash,
        },
        "rows": records(rows, test, recipe.seed),
        "versions": dict(installed_versions()),
    }  # fmt: skip
    segmenter.manifest["faults"] = faults_of(segmenter.manifest["rows"])
    _write(segmenter, out)
    return segmenter.manifest


def _own_side(scenes: Scenes) -> int | None:
    """The size of photos that are drawn, which is that of translators; None for files."""
    height, width = scenes.photo_of(0).shape[:2]
    mask = scenes.mask_of(0).shape
    return height if height == width and (height, width) != mask else None


def _check_apart(train: Scenes, test: Scenes) -> tuple[str, str]:
    """The hashes of two sets that may be learnt and tested.

    Raises:
        UserError: they share a photo, have other classes, or are too few.
    """
    if train.classes != test.classes:
        raise UserError(f"{train.name} and {test.name} have different classes")
    if min(len(train), len(test)) < 2:
        raise UserError("a segmenter needs at least 2 scenes to learn and 2 to test")
    (train_hash, learnt), (test_hash, tested) = train.digests(), test.digests()
    shared = set(learnt) & set(tested)
    if shared:
        name = test.ids[next(i for i, photo in enumerate(tested) if photo in shared)]
        raise UserError(
            f"{len(shared)} of the {len(test)} test photos are among the training photos, first "
            f"{printable(name)}"
        )
    return train_hash, test_hash


def _trained(
    empty: Segmenter, scenes: Scenes, recipe: SegmenterRecipe, cpu: bool, shuffled: bool
) -> tuple[Segmenter, int]:
    """A segmenter, or with labels of other scenes the control; and the step that was chosen."""
    size = empty.resolution
    assert size is not None

    def image_of(i: int) -> np.ndarray:
        return empty.seen(scenes.photo_of(i), size)

    def target_of(i: int) -> np.ndarray:
        other = (i + len(scenes) // 2) % len(scenes) if shuffled else i
        return resize_mask(scenes.mask_of(other), size)

    data = TaskData("segmentation", scenes.classes, scenes.ids, image_of, target_of)
    if len(scenes) * size[0] * size[1] * 4 <= _KEPT_BYTES:
        data = data.kept()
    learnt, chooses = split(data, recipe.validation, recipe.seed)
    found = train_task(
        recipe.model,
        data.subset(learnt),
        validation=data.subset(chooses),
        seed=recipe.seed,
        training=recipe.training,
        cpu=cpu,
    )
    return replace(empty, network=found.network, manifest={}), found.step


def faults_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Why a segmenter with these test rows may not score; nothing if it may."""
    iou = {row["row"]: row["mean_iou"]["value"] or 0.0 for row in rows}
    chance = max(iou.get(name, 0.0) for name in CHANCE)
    faults = []
    if not iou[REAL] > TIMES_CHANCE * chance:
        faults.append(
            f"it reads real photos with a mean IoU of {iou[REAL]:.3f}, which is not over "
            f"{TIMES_CHANCE:g} times chance, {chance:.3f}"
        )
    if CONTROL in iou and not iou[CONTROL] <= WITHIN * chance:
        faults.append(
            f"trained on labels of other photos it still has {iou[CONTROL]:.3f}, which is not "
            f"chance, {chance:.3f}: photos repeat, or masks do not depend on them"
        )
    return faults


def check_reads(rows: Sequence[Row], where: str) -> None:
    """Refuse a segmenter that does not read the real photos of the scored data.

    Raises:
        UserError: their mean IoU is not over twice chance.
    """
    real = next(row for row in rows if row.name == REAL).scores["mean_iou"]
    if not real > TIMES_CHANCE * chance_of(rows):
        raise UserError(
            f"the segmenter reads the real photos of {where} with a mean IoU of {real:.3f}, not "
            f"over {TIMES_CHANCE:g} times chance, {chance_of(rows):.3f}; scores by it would say "
            f"nothing. Train one on these data: zoo fcn train DATA --out FOLDER"
        )


# Folders -----------------------------------------------------------------------------------------


def _write(segmenter: Segmenter, out: Path) -> None:
    aside = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        weights = {k: v.contiguous().cpu() for k, v in segmenter.network.state_dict().items()}
        save_file(weights, aside / _WEIGHTS)
        digest = hashlib.sha256((aside / _WEIGHTS).read_bytes()).hexdigest()
        segmenter.manifest = {"sha256": digest, **segmenter.manifest}
        text = json.dumps(segmenter.manifest, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(aside / _MANIFEST, text + "\n")
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load_segmenter(folder: Path) -> Segmenter:
    """A stored segmenter that may score.

    Raises:
        UserError: the folder is none, was changed, or its segmenter does not read real photos.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    faults = faults_of(manifest["rows"])
    if faults:
        raise UserError(f"{printable(folder)} may not score: {'; '.join(faults)}")
    recipe = segmenter_recipe([], None)
    checker = Checker()
    recipe = checker.config(SegmenterRecipe, to_node(manifest["recipe"], str(folder)), "")
    if checker.problems:
        raise RecipeError(checker.problems)
    file = folder / _WEIGHTS
    if not file.is_file() or _sha256(file) != manifest["sha256"]:
        raise UserError(f"{printable(file)} is not the file that {_MANIFEST} was written for")
    network = _network(recipe.model, len(manifest["classes"]))
    network.load_state_dict(load_file(file))
    if torch.cuda.is_available():
        network = network.cuda()
    return Segmenter(
        network.eval(), tuple(manifest["classes"]), recipe.side, recipe.resolution, manifest
    )


def _network(model: Part, classes: int) -> nn.Module:
    """The network without its first weights, which its own take the place of."""
    config = asdict(model.config)
    first = {"weights": "", "pretrained": False}
    known = {key: value for key, value in first.items() if key in config}
    return replace(model, config=replace(model.config, **known)).build(classes)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a segmenter's folder says of it.

    Raises:
        UserError: there is no such file, or another format.
    """
    file = folder / _MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{printable(folder)} is no segmenter ({error}); `zoo fcn train` makes one"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{printable(file)}: this version reads format {FORMAT}")
    return manifest


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
