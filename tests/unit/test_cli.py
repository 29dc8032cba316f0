"""The command line: what it prints, and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from eval.adaptation.finding import list_adaptations
from zoo.cli import app
from zoo.create import describe_part
from zoo.recipe import list_recipes, load_recipe
from zoo.registry import REGISTRIES
from zoo.sweep import list_sweeps

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory; wide enough a terminal for whole lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def zoo(*words: str):
    return CliRunner().invoke(app, list(words))


def refused(*words: str) -> str:
    """The message of a user's mistake: exit code 2, on stderr, no traceback."""
    result = zoo(*words)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return result.stderr


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


# Start-up and exit codes of the real process.


def test_help_and_lists_need_no_torch(tmp_path):
    program = (
        "import sys; from zoo.cli import app\n"
        "from zoo.cli.listing import _KINDS\n"
        "from typer.testing import CliRunner\n"
        "for words in (['--help'], ['train', '--help'], ['version'], ['list'],\n"
        "              *(['list', kind] for kind in _KINDS)):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0\n"
        "print([name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])"
    )
    done = python("-c", program, cwd=tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_a_mistake_ends_the_process_with_2_and_no_traceback(tmp_path):
    done = python("-m", "zoo", "train", "debug/cyclgan", "--out", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(
        "error: there is no recipe 'debug/cyclgan'. Did you mean 'debug/cyclegan'? Recipes: "
    )
    assert list(tmp_path.iterdir()) == []


def test_another_eval_is_named(tmp_path):
    (tmp_path / "eval.py").write_text("")
    done = python("-m", "zoo", "report", "run", "--out", "x.html", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"Python finds {tmp_path / 'eval.py'} first" in done.stderr


# List and show.


def test_list_names_every_kind(folder):
    names = json.loads(zoo("list", "--json").stdout)
    assert names == {
        **{kind: registry.names() for kind, registry in REGISTRIES.items()},
        "recipes": list_recipes(),
        "sweeps": list_sweeps(),
        "adaptations": list_adaptations(),
    }
    table = zoo("list").stdout
    for found in names.values():
        assert all(name in table for name in found)


@pytest.mark.parametrize("kind", [*REGISTRIES, "recipes", "sweeps", "adaptations"])
def test_list_of_one_kind_has_a_line_on_each(folder, kind):
    objects = json.loads(zoo("list", kind, "--json").stdout)
    assert [entry["name"] for entry in objects] == json.loads(zoo("list", "--json").stdout)[kind]
    assert all(entry["summary"] for entry in objects)
    assert objects[0]["name"] in zoo("list", kind).stdout


def test_the_json_of_a_kind_has_all_that_show_tells(folder):
    (cut,) = (m for m in json.loads(zoo("list", "methods", "--json").stdout) if m["name"] == "cut")
    assert (cut["paper"], cut["year"]) == ("Park et al. 2020", 2020)
    assert "horse2zebra/cut" in cut["recipes"]
    assert {"name": "num_patches", "default": 256}.items() <= cut["fields"][8].items()
    assert describe_part("methods", "cut").items() <= cut.items()
    assert "paper: Park et al. 2020\n" in zoo("show", "method", "cut").stdout
    assert "paper: none named\n" in zoo("show", "dataset", "paired").stdout


def test_show_a_part(folder):
    words = ("show", "generator", "resnet")
    described = json.loads(zoo(*words, "--json").stdout)
    assert described == describe_part("generators", "resnet")
    text = zoo(*words).stdout
    for row in described["fields"]:
        assert row["name"] in text
        assert row["type"] in text
    assert described["file"] in text
    assert "debug/cyclegan" in text


def test_show_a_recipe_prints_one_that_can_be_trained(folder):
    text = zoo("show", "recipe", "debug/cyclegan").stdout
    (folder / "again.yaml").write_text(text)
    assert load_recipe("again.yaml") == load_recipe("debug/cyclegan")
    assert json.loads(zoo("show", "recipes", "debug/cyclegan", "--json").stdout) == (
        yaml.safe_load(text)
    )


def test_unknown_kinds_and_names(folder):
    assert "there is no kind 'generatr'. Did you mean 'generators'?" in refused("list", "generatr")
    assert "there is no loss 'lsgna'. Did you mean 'lsgan'?" in refused("show", "loss", "lsgna")
    assert "there is no recipe 'debug/x'" in refused("show", "recipe", "debug/x")
    assert "No such command 'trian'. Did you mean 'train'?" in refused("trian")
    assert "'a2c' is not one of 'a2b', 'b2a'" in refused(
        "translate", "run", "in", "out", "--direction", "a2c"
    )


# Train.


def test_dry_run_prints_the_recipe_and_the_parameters_and_makes_nothing(folder):
    result = zoo("train", "debug/cyclegan", "method.pool_size=7", "--dry-run")
    assert result.exit_code == 0
    recipe = yaml.safe_load(result.stdout)
    assert recipe["method"]["pool_size"] == 7
    assert "parameters" in result.stdout
    assert list(folder.iterdir()) == []


def test_every_problem_of_a_recipe_is_printed(folder):
    words = ("method.pool_szie=7", "train.seed=x", "optim.lr=2e-4")
    assert refused("train", "debug/cyclegan", *words, "--out", "run") == (
        "error: command line: method.pool_szie: CycleGAN.Config has no field 'pool_szie'. "
        "Did you mean 'pool_size'? Fields: generator, discriminator, adversarial, cycle, "
        "identity, weights, pool_size\n"
        "command line: train.seed: expected a whole number, got 'x'\n"
    )
    assert list(folder.iterdir()) == []


def test_train_needs_one_recipe_and_a_folder(folder):
    assert "train takes one recipe, by name or file, got none" in refused("train", "--out", "run")
    assert "got a and b" in refused("train", "a", "b", "--out", "run")
    assert "--out runs/first" in refused("train", "debug/cyclegan")


def test_resume_takes_nothing_but_the_number_of_images(folder):
    assert "run is not a run: it has no recipe.yaml" in refused("train", "--resume", "run")
    assert "leave out debug/ugatit --out" in refused(
        "train", "debug/ugatit", "--resume", "run", "--out", "other"
    )
    assert "only train.images may change; got train.seed=1" in refused(
        "train", "--resume", "run", "train.images=5", "train.seed=1"
    )


def test_a_plug_in_file(folder):
    (folder / "star.py").write_text("raise ValueError('out of ink')")
    assert "star.py fails at line 1: ValueError: out of ink" in refused(
        "train", "debug/cyclegan", "--dry-run", "--plugin", "star.py"
    )


def test_a_path_that_is_not_allowed_is_told_without_a_traceback(folder):
    (folder / "file").write_text("")
    assert refused("train", "debug/cyclegan", "--out", "file/run", "--cpu").startswith("error: ")


def test_a_run_is_trained_continued_translated_and_scored(folder):
    result = zoo("train", "debug/cyclegan", "train.images=4", "--out", "run", "--cpu")
    assert result.exit_code == 0, result.output
    assert refused("train", "debug/cyclegan", "--out", "run").startswith("error: run exists")

    result = zoo("train", "--resume", "run", "train.images=8", "--cpu")
    assert result.exit_code == 0, result.output
    seen = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert seen[-1]["images"] == 8

    words = ("translate", "run", "run/samples", "out", "--direction", "b2a")
    result = zoo(*words, "--weights", "raw", "--size", "resize", "--batch", "2")
    assert result.exit_code == 0, result.output
    assert len(list(Path("out").glob("*.png"))) == len(list(Path("run/samples").glob("*.png")))

    result = zoo("eval", "run", "--num-images", "4")
    assert result.exit_code == 0, result.output
    assert "not comparable with published numbers" in result.stdout
    records = json.loads(Path("run/scores.json").read_text())["records"]
    assert {record["metric"] for record in records} >= {"fid", "kid_target"}


def test_a_training_that_diverges_ends_with_1_and_a_reason(folder):
    words = ("train", "debug/cyclegan", "optim.lr=1e38", "--out", "run", "--cpu")
    result = zoo(*words)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "is not finite" in result.stderr
