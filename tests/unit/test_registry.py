"""Registries, parts, and making parts by name."""

import copy
import json
import os
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

import zoo
from zoo.create import create_loss, create_method, describe_part, describe_parts
from zoo.protocols import Shape
from zoo.registry import REGISTRIES, Part, Registry, UserError, part


class Shaped:
    """A part that keeps what it was made from."""

    @dataclass(kw_only=True)
    class Config:
        width: int = 8

    def __init__(self, config, *shapes):
        self.config, self.shapes = config, shapes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A package of parts `parts_of_test` on the path; gives its folder."""
    package = tmp_path / "parts_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    module = types.ModuleType("registry_of_test")
    module.REGISTRY = Registry("loss", "parts_of_test")
    monkeypatch.setitem(sys.modules, "registry_of_test", module)
    yield package
    for name in [name for name in sys.modules if name.startswith("parts_of_test")]:
        del sys.modules[name]


PART = """
from dataclasses import dataclass
from registry_of_test import REGISTRY

@REGISTRY.register("{name}")
class Part:
    @dataclass(kw_only=True)
    class Config:
        pass
"""


def test_every_file_of_the_folder_is_found_on_first_use(folder):
    (folder / "one.py").write_text(PART.format(name="first"))
    (folder / "two.py").write_text(PART.format(name="second"))
    (folder / "_private.py").write_text("raise RuntimeError")
    registry = sys.modules["registry_of_test"].REGISTRY
    assert registry.names() == ["first", "second"]
    assert "first" in registry
    assert "third" not in registry


def test_a_name_with_two_owners_is_an_error_that_names_both_files(folder):
    (folder / "one.py").write_text(PART.format(name="first"))
    (folder / "two.py").write_text(PART.format(name="first"))
    with pytest.raises(UserError) as caught:
        sys.modules["registry_of_test"].REGISTRY.names()
    assert str(caught.value) == (
        f"two losses are called 'first': Part in {folder / 'one.py'} and "
        f"Part in {folder / 'two.py'}; rename one"
    )


def test_a_file_that_fails_to_import_is_told_every_time(folder):
    (folder / "one.py").write_text("import a_module_that_does_not_exist")
    registry = sys.modules["registry_of_test"].REGISTRY
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="a_module_that_does_not_exist"):
            registry.names()


def test_files_tell_the_same_without_being_imported(tmp_path):
    """Of every kind, the names and first lines that the classes have; only then is torch there."""
    program = (
        "import json, sys; from zoo.registry import REGISTRIES\n"
        "def told(): return {k: list(r.summaries().items()) for k, r in REGISTRIES.items()}\n"
        "read, torch = told(), 'torch' in sys.modules\n"
        "for registry in REGISTRIES.values(): registry.names()\n"
        "print(json.dumps([read, torch, told(), 'torch' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(zoo.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    read, torch_before, imported, torch_after = json.loads(done.stdout)
    assert read == imported
    assert (torch_before, torch_after) == (False, True)
    assert {kind: [name for name, _ in rows] for kind, rows in read.items()} == {
        kind: registry.names() for kind, registry in REGISTRIES.items()
    }


READABLE = PART.replace("registry_of_test import REGISTRY", "zoo.registry import FEATURES").replace(
    "REGISTRY", "FEATURES"
)


@pytest.fixture
def features(folder, monkeypatch):
    """A registry that `zoo.registry` has under a name, of the files of `folder`."""
    registry = Registry("feature", "parts_of_test")
    monkeypatch.setattr("zoo.registry.FEATURES", registry, raising=False)
    return registry


def is_imported(module: str) -> bool:
    return f"parts_of_test.{module}" in sys.modules


def test_a_file_is_read_for_its_names_and_not_imported(folder, features):
    text = READABLE.format(name="first").replace(
        "Part:\n", 'Part:\n    """What it is.\n\n    More."""\n'
    )
    (folder / "one.py").write_text(text)
    (folder / "two.py").write_text(READABLE.format(name="second").replace("FEATURES", "LOSSES"))
    assert features.summaries() == {"first": "What it is."}
    assert not is_imported("one")
    features.register("third")(Shaped)  # as a plug-in file does
    assert features.summaries() == {
        "first": "What it is.",
        "third": "A part that keeps what it was made from.",
    }


@pytest.mark.parametrize(
    "text",
    [
        READABLE.replace('"{name}"', '"fir" + "st"'),
        READABLE.replace("FEATURES", "F").replace("import F", "import FEATURES as F"),
        READABLE.replace('@FEATURES.register("{name}")', "") + "\nFEATURES.register('first')(Part)",
    ],
    ids=["a computed name", "another name of the registry", "a call"],
)
def test_a_file_that_cannot_be_read_for_its_names_is_imported(folder, features, text):
    (folder / "one.py").write_text(text.replace("{name}", "first"))
    assert list(features.summaries()) == ["first"]
    assert is_imported("one")


def test_two_files_of_one_name_are_an_error_in_the_list_too(folder, features):
    for file in ("one.py", "two.py"):
        (folder / file).write_text(READABLE.format(name="first"))
    with pytest.raises(UserError, match="two features are called 'first'"):
        features.summaries()


def test_an_unknown_name_is_answered_with_the_nearest_and_the_list(folder):
    (folder / "one.py").write_text(PART.format(name="first"))
    with pytest.raises(UserError) as caught:
        sys.modules["registry_of_test"].REGISTRY["frist"]
    assert str(caught.value) == ("there is no loss 'frist'. Did you mean 'first'? Losses: first")


def test_a_part_without_a_config_is_refused():
    with pytest.raises(TypeError, match="Bare needs a nested dataclass Config"):

        @REGISTRIES["losses"].register("bare")
        class Bare:
            pass


def test_a_part_builds_its_owner_and_is_not_copied(monkeypatch):
    registry = REGISTRIES["losses"]
    monkeypatch.setitem(registry._classes, "shaped", Shaped)
    slot = Part(registry, "shaped", Shaped.Config(width=3))
    built = slot.build("a", "b")
    assert (built.config.width, built.shapes) == (3, ("a", "b"))
    assert copy.deepcopy(slot) is slot
    assert part(registry, "shaped").default_factory() == Part(registry, "shaped", Shaped.Config())


def test_parts_are_made_by_name_with_checked_fields(monkeypatch):
    monkeypatch.setitem(REGISTRIES["generators"]._classes, "shaped", Shaped)
    monkeypatch.setitem(REGISTRIES["discriminators"]._classes, "shaped", Shaped)
    assert zoo.create_generator("shaped").shapes == (Shape(3, 256, 256),) * 2
    one = zoo.create_generator("shaped", (1, 64, 48), width=4)
    assert (one.config.width, one.shapes) == (4, (Shape(1, 64, 48),) * 2)
    two = zoo.create_generator("shaped", source=(1, 8, 8), target=(3, 8, 8))
    assert two.shapes == (Shape(1, 8, 8), Shape(3, 8, 8))
    assert zoo.create_discriminator("shaped", (3, 8, 8)).shapes == (Shape(3, 8, 8),)
    assert "shaped" in zoo.list_generators()
    with pytest.raises(UserError) as caught:
        zoo.create_generator("shaped", widht=4)
    assert str(caught.value) == (
        "create_generator: widht: Shaped.Config has no field 'widht'. "
        "Did you mean 'width'? Fields: width"
    )
    with pytest.raises(UserError, match=r"create_loss: there is no loss 'lsgna'.* 'lsgan'"):
        create_loss("lsgna")


def test_a_method_takes_parts_as_names_mappings_or_parts():
    small = {"name": "resnet", "width": 4, "num_blocks": 1}
    judge = Part(
        REGISTRIES["discriminators"],
        "patch",
        REGISTRIES["discriminators"]["patch"].Config(width=4, num_layers=2),
    )
    method = create_method(
        "cyclegan",
        (3, 32, 32),
        (3, 32, 32),
        generator=small,
        discriminator=judge,
        adversarial="gan",
        weights={"cycle": {"a": 3}},
    )
    assert (method.weights.cycle.a, method.weights.cycle.b) == (3, 10)
    assert list(method.players()) == ["generators", "discriminators"]


def test_every_registered_part_can_be_described():
    for kind, registry in REGISTRIES.items():
        parts = describe_parts(kind)
        assert [described["name"] for described in parts] == registry.names()
        for described in parts:
            assert json.loads(json.dumps(described)) == described
            assert described["doc"], f"{kind} {described['name']} has no docstring"
            for row in described["fields"]:
                assert row["type"]


def test_every_part_but_data_names_its_paper():
    described = {kind: describe_parts(kind) for kind in REGISTRIES}
    for kind, all_of_kind in described.items():
        assert all_of_kind[0] == describe_part(kind, all_of_kind[0]["name"])
        for found in all_of_kind:
            if kind == "datasets":
                assert (found["paper"], found["year"]) == (None, None)
            elif kind != "metrics" or found["paper"]:  # some formulas have no author
                assert found["paper"].endswith(str(found["year"])), f"{kind} {found['name']}"
    papers = {found["name"]: found["paper"] for found in described["methods"]}
    assert papers["cogan"] == "Liu and Tuzel 2016"
    assert papers["featureloss"] == papers["cyclegan"] == "Zhu et al. 2017"


def test_a_description_has_types_defaults_and_help():
    described = describe_part("methods", "ugatit")
    rows = {row["name"]: row for row in described["fields"]}
    assert rows["generator"]["type"] == "generator that offers cam"
    assert rows["generator"]["default"] == "ugatit"
    assert rows["weights.cam"]["type"] == "number | {a2b, b2a}"
    assert rows["weights.cam"]["default"] == 1000
    assert rows["weights.cam"]["help"]
    assert described["file"].endswith("zoo/methods/ugatit.py")
    assert "debug/ugatit" in described["recipes"]
    assert "debug/cyclegan" not in described["recipes"]
    assert "Kim et al. 2020" in described["origin"]
    rows = {row["name"]: row for row in describe_part("generators", "resnet")["fields"]}
    assert rows["norm"]["type"].startswith("instance | ")
    rows = {row["name"]: row for row in describe_part("datasets", "toonfaces")["fields"]}
    assert rows["load_size"]["type"] == "int | auto"
