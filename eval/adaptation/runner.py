"""`zoo adapt`: from a recipe to a table of what training on translated images is worth.

Everything is in one folder and can be cut short at any moment: the same call goes on.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.adaptation.arms import READERS, ArmResult, Setting, label_consistency, run_arm
from eval.adaptation.distances import distances, write_samples
from eval.adaptation.guards import check_leaks
from eval.adaptation.hashes import Hashes
from eval.adaptation.recipe import Adaptation, dump_adaptation
from eval.adaptation.result import summary
from eval.adaptation.show import markdown
from eval.adaptation.styles import Styles
from eval.adaptation.translate import translated
from eval.scores import installed_versions, write_whole
from eval.tasks.data import TaskData
from zoo.registry import UserError
from zoo.typed import to_plain

log = logging.getLogger("eval.adaptation")

FORMAT = 1


def adapt(
    recipe: Adaptation, out: Path, *, name: str = "", command: Sequence[str] = (), cpu: bool = False
) -> dict[str, Any]:
    """Translate, train every arm with every seed, test, and write the results.

    Writes `recipe.yaml`, `translated/`, `arms/`, `samples.png`, and last `adaptation.json` and
    `adaptation.md`.

    Args:
        recipe: from `load_adaptation`.
        out: folder, made if it is not there; what is finished in it is kept.
        name: of the recipe, for the record.
        command: for the record.
        cpu: even where there is a GPU.

    Returns:
        The content of adaptation.json, see docs/reference/files.md.

    Raises:
        UserError: data, run or folders are not there or do not fit, or test images were trained
            on.
    """
    source, target_train, target_test = _data(recipe)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}") from error
    write_whole(out / "recipe.yaml", dump_adaptation(recipe))
    hashes = Hashes(out / "hashes.json")
    trained_on = {"source": source, "target_train": target_train}
    guards = check_leaks(target_test, trained_on, recipe.translator, hashes)
    roles = {"source": source, "target_train": target_train, "target_test": target_test}
    digests = {role: _digest(hashes, data, getattr(recipe, role)) for role, data in roles.items()}
    made = None
    if recipe.translator is not None and any("translated" in arm for arm in recipe.arms):
        made = translated(recipe.translator, source, out, hashes)
    styles = Styles(source, target_train, made, (digests["source"], digests["target_train"]))
    setting = Setting(recipe, styles, target_train, target_test, digests, out, cpu)

    names = ["source", *(arm for arm in recipe.arms if arm not in READERS and "+" not in arm)]
    write_samples(styles, names, target_train, out / "samples.png")
    results = _run_arms(setting)
    consistency = {
        reader: [label_consistency(setting, result, names) for result in results[reader]]
        for reader in READERS
        if reader in results
    }
    content = {
        "format": FORMAT,
        "recipe": name,
        "description": recipe.description,
        "command": list(command),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": installed_versions(),
        "task": source.task,
        "classes": list(source.classes),
        "data": {role: len(data) for role, data in roles.items()},
        "model": recipe.model.name,
        "steps": recipe.training.steps,
        "batch": recipe.training.batch,
        "seeds": recipe.seeds,
        "translator": None if made is None else made.origin,
        "guards": guards,
        "distances": distances(
            styles, names, target_train, digests["target_train"], recipe.extractor, out
        ),
        **summary(results, consistency, source.classes, str(source.task)),
        "published": to_plain(recipe.published),
    }
    write_whole(out / "adaptation.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_whole(out / "adaptation.md", markdown(content))
    return content


def _data(recipe: Adaptation) -> tuple[TaskData, TaskData, TaskData]:
    """Source, target_train and target_test, with the source's numbers for classes."""
    found = {}
    for role in ("source", "target_train", "target_test"):
        try:
            found[role] = getattr(recipe, role).build().load()
        except UserError as error:
            raise UserError(f"{role}: {error}") from error
    source, target_train, target_test = found.values()
    for role, data in (("source", source), ("target_test", target_test)):
        if data.task is None:
            raise UserError(f"{role} needs labels; the adapter 'images' has none")
    if target_train.task is None and "oracle" in recipe.arms:
        raise UserError(
            "the arm oracle is trained on the labels of target_train, which has none; leave the "
            "arm out, or name a labelled target_train, whose labels nothing else uses"
        )
    for role, data in (("target_train", target_train), ("target_test", target_test)):
        if data.task not in (None, source.task):
            raise UserError(f"{role} is for {data.task}, and source for {source.task}")
    model: Any = recipe.model.owner
    if model.task != source.task:
        raise UserError(
            f"the model {recipe.model.name!r} is for {model.task}, and the data are for "
            f"{source.task}"
        )
    return (
        source,
        target_train.renumbered(source.classes, "target_train"),
        target_test.renumbered(source.classes, "target_test"),
    )


def _digest(hashes: Hashes, data: TaskData, part: Any) -> str:
    """Changes with the images, the adapter's settings and the classes of images."""
    text = json.dumps([to_plain(part), list(data.ids), hashes.native(data)], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    if data.task == "classification":
        digest.update(data.labels().tobytes())
    return digest.hexdigest()[:16]


def _run_arms(setting: Setting) -> dict[str, list[ArmResult]]:
    """Every arm's results in the order of the seeds; all arms of a seed before the next."""
    recipe = setting.recipe
    data = {arm: setting.arm(arm) for arm in recipe.arms}
    results: dict[str, list[ArmResult]] = {arm: [] for arm in recipe.arms}
    for seed in recipe.seeds:
        for arm in recipe.arms:
            result = run_arm(setting, arm, seed, data[arm])
            results[arm].append(result)
            scores = ", ".join(
                f"{name} {'none' if value is None else f'{value:.3f}'}"
                for name, value in result.record["scores"].items()
            )
            log.info("%s, seed %d: %s", arm, seed, scores)
    return results
