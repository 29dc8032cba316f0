"""The shape of the code: who may import whom, lengths, and how far one reads to follow a step."""

import sys
import tomllib
from itertools import chain
from pathlib import Path
from types import CodeType

import pytest
from importlinter.cli import lint_imports

from tests.training import ROOT, recipe_of
from zoo.trainer import Trainer

MOST_LINES = 400
MOST_FILES_OF_A_STEP, MOST_LINES_OF_A_STEP = 6, 900


def contracts():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return {contract["name"]: contract for contract in settings["contracts"]}


def modules_of(package):
    """The modules and packages directly inside a package."""
    found = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    return {f"{package}.{name}" for name in found}


def test_import_contracts_hold(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert code == 0, capsys.readouterr().out


def test_every_module_is_in_a_layer():
    layers = contracts()["downward"]["layers"]
    named = list(chain.from_iterable(layer.replace(":", "|").split("|") for layer in layers))
    named = [name.strip() for name in named]
    assert len(named) == len(set(named))
    assert {name for name in named if name != "eval"} == modules_of("zoo")


def test_layers_go_down_as_designed():
    """A part knows the method, the method the layers; nothing below knows the trainer."""
    layers = contracts()["downward"]["layers"]
    height = {
        name.strip(): -i
        for i, layer in enumerate(layers)
        for name in layer.replace(":", "|").split("|")
    }
    order = ["cli", "trainer", "update", "checkpoint", "methods", "method", "layers", "protocols"]
    heights = [height[f"zoo.{name}"] for name in [*order, "recipe", "schema", "registry"]]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == len(heights)
    assert height["zoo.cli"] > height["eval"] > height["zoo.trainer"]
    plug_ins = ("methods", "generators", "discriminators", "losses", "data")
    assert len({height[f"zoo.{name}"] for name in plug_ins}) == 1


def test_files_of_a_plug_in_folder_do_not_know_each_other():
    apart = contracts()["files of a plug-in folder do not know each other"]["modules"]
    folders = {"zoo.generators.*", "zoo.discriminators.*", "zoo.losses.*", "zoo.methods.*"}
    assert folders <= set(apart)


@pytest.mark.parametrize(
    "path",
    sorted(path for package in ("zoo", "eval") for path in (ROOT / package).rglob("*.py")),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) < MOST_LINES


# Reading path -----------------------------------------------------------------------------------


def lines_of(code: CodeType) -> set[int]:
    """The lines of a function, its head and its text included."""
    numbers = {line for _, _, line in code.co_lines() if line is not None} | {code.co_firstlineno}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            numbers |= lines_of(constant)
    return set(range(min(numbers), max(numbers) + 1))


def executed(function) -> dict[Path, set[int]]:
    """For every file of `zoo`, the lines of the functions that ran."""
    found: dict[Path, set[int]] = {}

    def watch(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT / "zoo"):
            found.setdefault(path.relative_to(ROOT / "zoo"), set()).update(lines_of(frame.f_code))

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


def test_a_step_of_cyclegan_is_read_quickly(tmp_path):
    """From `Updater.step`, which the trainer's loop calls for every batch, to the changed weights.

    Files of `losses` and of `layers` count as one each, as a reader looks at one equation at a
    time. Reading a recipe, learning rates, logs and checkpoints is not part of a step.
    """
    trainer = Trainer(recipe_of("cyclegan", "train.images=2"), tmp_path / "run", None, cpu=True)
    trainer.begin(["zoo"])
    (batch,) = trainer.batches
    trainer.update.start(batch)
    found = executed(lambda: trainer.update.step(batch))
    files = {
        path.parts[0] if path.parts[0] in ("losses", "layers") else str(path) for path in found
    }
    total = sum(map(len, found.values()))
    assert {"update.py", "methods/cyclegan.py", "losses", "layers"} <= files
    assert len(files) <= MOST_FILES_OF_A_STEP, sorted(files)
    assert 200 < total <= MOST_LINES_OF_A_STEP
