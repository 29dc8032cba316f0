"""Trains and tests arm by arm, seed by seed; what is finished is kept and not repeated.

`arms/ARM/seed_S` holds `result.json` (whole only if the folder is there), `outcome.npz` with what
the network said about the test images, and for arms whose networks read other arms' images
`weights.safetensors`.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from eval.adaptation.outcome import Outcome
from eval.adaptation.recipe import SCORES, Adaptation
from eval.adaptation.styles import Style, Styles
from eval.scores import write_whole
from eval.tasks.data import TaskData, joined, split
from eval.tasks.train import train_task
from zoo.registry import UserError
from zoo.typed import to_plain

log = logging.getLogger("eval.adaptation")

FORMAT = 1
READERS = ("source", "oracle")  # arms whose networks say whether a style keeps its labels
_KEPT_BYTES = 2**30  # of images that are kept in memory


@dataclass
class ArmData:
    """What one arm is trained, chosen and tested on."""

    train: TaskData
    validation: TaskData
    test: TaskData
    identity: str


@dataclass
class Setting:
    """Everything that arms share.

    Attributes:
        recipe: what to do.
        styles: the source in all of them.
        target_train: labelled for the oracle, else only looked at.
        target_test: labelled.
        digests: of "source", "target_train" and "target_test"; each changes with its images.
        out: folder of the results.
        cpu: even where there is a GPU.
    """

    recipe: Adaptation
    styles: Styles
    target_train: TaskData
    target_test: TaskData
    digests: Mapping[str, str]
    out: Path
    cpu: bool = False

    def arm(self, name: str) -> ArmData:
        """The data of one arm.

        The same source images choose the step in every arm, each in its own style; for the oracle
        they are a part of target_train. No test image does.
        """
        share = self.recipe.validation
        if name == "oracle":
            style = Style(self.target_train, None, self.digests["target_train"])
            parts = split(self.target_train, share, seed=0)
        else:
            style = self.styles[name.rpartition("+")[2]]
            parts = split(self.styles["source"].data, share, seed=0)
        train, validation = (_in_memory(style.data.subset(part)) for part in parts)
        identity = [style.identity, self.digests["target_test"], share]
        if "+" in name:
            source = self.styles["source"]
            plain = [_in_memory(source.data.subset(part)) for part in parts]
            train = joined(plain[0], train, "translated/")
            validation = joined(plain[1], validation, "translated/")
            identity.append(source.identity)
        test = self.target_test
        if style.change is not None:
            test = test.changed(style.change)
        return ArmData(train, validation, _in_memory(test), json.dumps(identity))

    def held_out(self, style: str) -> TaskData:
        """The source images in a style that no arm is trained on."""
        part = split(self.styles["source"].data, self.recipe.validation, seed=0)[1]
        return self.styles[style].data.subset(part)


def _in_memory(data: TaskData) -> TaskData:
    """The same, kept once read unless that takes too much."""
    if not len(data) or len(data) * data.image_of(0).nbytes > _KEPT_BYTES:
        return data
    return data.kept()


@dataclass
class ArmResult:
    """What is known of one arm and seed.

    Attributes:
        record: content of `result.json`.
        outcome: on the test images.
        folder: where both lie.
    """

    record: dict[str, Any]
    outcome: Outcome
    folder: Path


def run_arm(setting: Setting, name: str, seed: int, data: ArmData) -> ArmResult:
    """Train and test one arm with one seed, or take it from disk.

    Raises:
        UserError: the model is for another task, or training failed.
    """
    folder = setting.out / "arms" / name / f"seed_{seed}"
    fingerprint = _fingerprint(setting.recipe, name, seed, data)
    kept = _kept(folder, fingerprint)
    if kept is not None:
        return kept
    recipe = setting.recipe
    start = time.monotonic()
    trained = train_task(
        recipe.model,
        data.train,
        validation=data.validation,
        seed=seed,
        training=recipe.training,
        cpu=setting.cpu,
    )
    outcome = Outcome.of(trained.network, data.test)
    record = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "arm": name,
        "seed": seed,
        "train_images": len(data.train),
        "validation_images": len(data.validation),
        "step": trained.step,
        "validation": trained.score,
        "history": trained.history,
        "scores": _finite(outcome.scores()),
        "seconds": round(time.monotonic() - start, 1),
    }
    aside = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    outcome.write(aside / "outcome.npz")
    if name in READERS:
        weights = {n: v.contiguous().cpu() for n, v in trained.network.state_dict().items()}
        save_file(weights, aside / "weights.safetensors")
    write_whole(aside / "result.json", json.dumps(record, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    return ArmResult(record, outcome, folder)


def _finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in scores.items()}


def _fingerprint(recipe: Adaptation, name: str, seed: int, data: ArmData) -> str:
    """Hash of what the result depends on, but for code and devices."""
    content = [FORMAT, name, seed, data.identity, to_plain(recipe.model), to_plain(recipe.training)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _kept(folder: Path, fingerprint: str) -> ArmResult | None:
    if not (folder / "result.json").is_file():
        return None
    try:
        record = json.loads((folder / "result.json").read_text())
        outcome = Outcome.read(folder / "outcome.npz")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder} cannot be read ({error}); delete it to repeat it") from None
    if record["fingerprint"] == fingerprint:
        return ArmResult(record, outcome, folder)
    log.warning("%s is of other data or settings; it is repeated", folder)
    return None


# Whether labels still fit ------------------------------------------------------------------------


def label_consistency(setting: Setting, reader: ArmResult, styles: Sequence[str]) -> dict[str, Any]:
    """What a trained network makes of held-out source images in every style, against their labels.

    Source images that no network was trained on. A network trained on the source knows what the
    labels mean but not the target's style; one trained on the target knows the style. A class that
    a translation swaps shows in either as soon as it can read the style at all.

    Args:
        setting: of all arms.
        reader: a finished arm of READERS.
        styles: names.

    Returns:
        Style -> score -> value, from disk where it was computed before.
    """
    path = reader.folder / "reads.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    todo = [
        name for name in styles if found.get(name, {}).get("style") != setting.styles[name].identity
    ]
    if todo:
        network = _network(setting, reader)
        for name in todo:
            scores = Outcome.of(network, setting.held_out(name)).scores()
            wanted = [n for n in SCORES[str(setting.target_test.task)] if n != "ece"]
            found[name] = {"style": setting.styles[name].identity} | _finite(
                {n: scores[n] for n in wanted}
            )
        write_whole(path, json.dumps(found, indent=1) + "\n")
    return {name: {n: v for n, v in found[name].items() if n != "style"} for name in styles}


def _network(setting: Setting, reader: ArmResult) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        network = setting.recipe.model.build(len(setting.target_test.classes))
    network.load_state_dict(load_file(reader.folder / "weights.safetensors"))
    return network.eval()
