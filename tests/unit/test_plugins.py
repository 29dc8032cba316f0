"""Parts and recipes that other distributions and files bring."""

import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training import ROOT, metrics, zoo_command
from zoo import plugins
from zoo.recipe import RecipeError, dump_recipe, list_recipes, load_recipe
from zoo.registry import GENERATORS, REGISTRIES, UserError

STAR = """
from dataclasses import dataclass
from zoo.registry import GENERATORS

@GENERATORS.register("{name}")
class Star:
    '''A generator from elsewhere.'''
    @dataclass(kw_only=True)
    class Config:
        points: int = 5
"""

STRIPES = """
from dataclasses import dataclass
from typing import Annotated
from torch import nn
from zoo.protocols import Translation
from zoo.registry import GENERATORS

@GENERATORS.register("stripes")
class Stripes(nn.Module):
    '''Two convolutions.'''
    @dataclass(kw_only=True)
    class Config:
        width: Annotated[int, "filters of the inner layer"] = 4

    def __init__(self, config, source, target):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(source.channels, config.width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(config.width, target.channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, x):
        return Translation(self.layers(x))
"""

ONE_WAY = """
from dataclasses import dataclass, field
from zoo.method import Method
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, part

@METHODS.register("one_way")
class OneWay(Method):
    '''A GAN from a to b, nothing more.'''
    passes = (("generators", "discriminators"),)

    @dataclass(kw_only=True)
    class Config:
        @dataclass(kw_only=True)
        class Weights:
            adversarial: float = 1
            discriminator: float = 1

        generator: Part = part(GENERATORS, "resnet")
        discriminator: Part = part(DISCRIMINATORS, "patch")
        adversarial: Part = part(LOSSES, "lsgan", needs={"adversarial"})
        weights: Weights = field(default_factory=Weights)

    def __init__(self, config, a, b):
        super().__init__()
        self.ab = config.generator.build(a, b)
        self.discriminator_b = config.discriminator.build(b)
        self.adversarial = config.adversarial.build()
        self.weights = config.weights

    def players(self):
        return {"generators": [self.ab], "discriminators": [self.discriminator_b]}

    def step(self, batch, update):
        fake = self.ab(batch.a).image
        fooled = self.adversarial.fool(self.discriminator_b, fake, batch.b)
        update("generators", {"adversarial": fooled})
        judged = self.adversarial.judge(self.discriminator_b, batch.b, fake.detach())
        update("discriminators", {"discriminator": judged})
        self.adversarial.after_step(self.discriminator_b)

    def translate(self, x, direction):
        return self.ab(x).image
"""

ONE_WAY_RECIPE = """
data: {name: toonfaces, size: 32, num_train: 6, num_test: 2}
method:
  name: one_way
  generator: stripes
  discriminator: {width: 4, num_layers: 2}
train: {images: 4, batch: 2}
log: {every_images: 2}
samples: {every_images: 4, num_images: 1}
checkpoint: {every_images: 4}
"""


@pytest.fixture(autouse=True)
def _registries(monkeypatch):
    """Registries as before, after each test."""
    for registry in REGISTRIES.values():
        registry.names()
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    monkeypatch.setattr(plugins, "_loaded", False)
    plugins.recipe_folders.cache_clear()
    before = set(sys.modules)
    yield
    plugins.recipe_folders.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith(("zoo_plugin_", "star_lab", "dud_lab", "star_recipes")):
            del sys.modules[name]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty folder on the path, where `install` puts distributions."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def install(site: Path, name: str, entry_points: str, **modules: str) -> None:
    """What `pip install` leaves of a distribution."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)


def test_a_distribution_adds_parts(site):
    install(site, "star-lab", "[zoo.plugins]\nstar = star_lab\n", star_lab=STAR.format(name="star"))
    plugins.load_entry_points()
    assert GENERATORS["star"].Config().points == 5
    assert "resnet" in GENERATORS


def test_the_list_of_a_kind_has_parts_of_distributions(site):
    install(site, "star-lab", "[zoo.plugins]\nstar = star_lab\n", star_lab=STAR.format(name="star"))
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "list", "generators"],
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "A generator from elsewhere." in done.stdout
    assert "resnet" in done.stdout


def test_a_distribution_that_fails_is_named_and_others_stay_usable(site, caplog):
    install(site, "dud-lab", "[zoo.plugins]\ndud = dud_lab\n", dud_lab="import nothing_like_this")
    install(site, "star-lab", "[zoo.plugins]\nstar = star_lab\n", star_lab=STAR.format(name="star"))
    with caplog.at_level(logging.WARNING, logger="zoo"):
        plugins.load_entry_points()
        plugins.load_entry_points()
    assert "star" in GENERATORS
    assert "resnet" in GENERATORS
    assert [record.getMessage() for record in caplog.records] == [
        "the plug-in 'dud' of dud-lab is left out, as importing dud_lab failed: "
        "ModuleNotFoundError: No module named 'nothing_like_this'"
    ]


def test_a_distribution_cannot_take_a_name_of_ours(site):
    """Not even of a registry that nobody has used when the distribution is imported."""
    taken = STAR.format(name="patch").replace("GENERATORS", "DISCRIMINATORS")
    install(site, "dud-lab", "[zoo.plugins]\ndud = dud_lab\n", dud_lab=taken)
    program = (
        "from zoo.registry import DISCRIMINATORS, GENERATORS\n"
        "GENERATORS['resnet']; print(DISCRIMINATORS['patch'].__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "zoo.discriminators.patch"
    assert "the plug-in 'dud' of dud-lab is left out" in done.stderr
    assert "two discriminators are called 'patch'" in done.stderr
    assert str(site / "dud_lab.py") in done.stderr


def test_a_distribution_adds_recipes(site):
    folder = site / "star_recipes"
    (folder / "star").mkdir(parents=True)
    (folder / "star/small.yaml").write_text("train: {seed: 31}")
    install(site, "star-lab", "[zoo.recipes]\nstar = star_recipes\n")
    assert "star/small" in list_recipes()
    assert load_recipe("star/small").train.seed == 31


def test_a_generator_and_a_method_of_a_distribution_train_through_the_command(site, tmp_path):
    (site / "star_recipes").mkdir()
    (site / "star_recipes/one_way.yaml").write_text(ONE_WAY_RECIPE)
    plugins_and_recipes = (
        "[zoo.plugins]\nstripes = star_lab_generator\none_way = star_lab_method\n"
        "[zoo.recipes]\nstar = star_recipes\n"
    )
    modules = {"star_lab_generator": STRIPES, "star_lab_method": ONE_WAY}
    install(site, "star-lab", plugins_and_recipes, **modules)

    def zoo(*words):
        return subprocess.run(
            zoo_command(*words),
            env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    for words in (
        ("train", "one_way", "--out", "run", "--cpu"),
        ("train", "--resume", "run", "train.images=8", "--cpu"),
    ):
        done = zoo(*words)
        assert done.returncode == 0, done.stderr
    lines = metrics(tmp_path / "run")
    assert [line["images"] for line in lines] == [2, 4, 6, 8]
    assert set(lines[-1]["terms"]) == {"adversarial", "discriminator/real", "discriminator/fake"}

    colours = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "photo.png")
    translate = ("translate", "run", "photo.png", "made.png", "--direction", "a2b")
    done = zoo(*translate)
    assert done.returncode == 0, done.stderr
    made = np.asarray(Image.open(tmp_path / "made.png"))
    assert made.shape == colours.shape
    assert 0 < made.std() < colours.std()

    (site / "star_lab_generator.py").unlink()
    refused = zoo(*translate)
    assert refused.returncode == 2
    assert "the plug-in 'stripes' of star-lab is left out" in refused.stderr
    assert "there is no generator 'stripes'" in refused.stderr


def test_recipes_that_are_missing_are_named(site, caplog):
    install(site, "dud-lab", "[zoo.recipes]\ndud = dud_recipes\n")
    assert "debug/cyclegan" in list_recipes()
    assert "the plug-in 'dud' of dud-lab is left out" in caplog.records[0].getMessage()


def test_a_file_in_a_recipe_is_found_beside_the_recipe(tmp_path, monkeypatch):
    lab = tmp_path / "lab"
    (lab / "recipes").mkdir(parents=True)
    (lab / "star.py").write_text(STAR.format(name="star"))
    recipe_file = lab / "recipes/base.yaml"
    recipe_file.write_text("plugins: [../star.py]\nmethod: {generator: {name: star, points: 7}}")
    child = tmp_path / "child.yaml"
    child.write_text("extends: [lab/recipes/base.yaml]")

    recipe = load_recipe(child)

    assert recipe.method.config.generator.config.points == 7
    assert recipe.plugins == [str(lab / "star.py")]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe))
    assert load_recipe("again.yaml") == recipe


def test_a_file_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "star.py").write_text(STAR.format(name="star"))
    (tmp_path / "x.yaml").write_text("method: {generator: star}")
    with pytest.raises(RecipeError, match="there is no generator 'star'"):
        load_recipe("x.yaml")
    recipe = load_recipe("x.yaml", plugins=["star.py", tmp_path / "star.py"])
    assert recipe.plugins == [str(tmp_path / "star.py")]
    assert plugins.file_hash(Path("star.py")) == (
        hashlib.sha256((tmp_path / "star.py").read_bytes()).hexdigest()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n\nimport nothing_like_this\n", "fails at line 3: ModuleNotFoundError: No module"),
        ("def f(\n", "fails at line 1: SyntaxError"),
        (STAR.format(name="resnet"), "fails at line 5: UserError: two generators are called"),
    ],
)
def test_a_file_that_fails_is_a_mistake_with_a_line(tmp_path, text, message):
    path = tmp_path / "star.py"
    path.write_text(text)
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            plugins.import_file(path)
        assert f"plug-in file {path} {message}" in str(caught.value)


def test_a_file_must_exist_and_be_python(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        plugins.import_file(tmp_path / "star.py")
    (tmp_path / "star.txt").write_text("")
    with pytest.raises(UserError, match=r"its name must end in \.py"):
        plugins.import_file(tmp_path / "star.txt")
