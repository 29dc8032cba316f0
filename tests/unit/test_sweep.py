"""Sweeps: what is read, what is refused and where, and what the command line prints."""

import json

import pytest
from typer.testing import CliRunner

from tests.training import ROOT
from zoo.cli import app
from zoo.recipe import load_recipe
from zoo.runs import build_method
from zoo.sweep import SweepError, list_sweeps, load_sweep

GOOD = """\
description: two methods
tasks: [photo2toon, toon2photo]
seeds: [0, 7]
metrics: [kid_target]
rows:
  CycleGAN:
    runs:
      - {recipe: debug/cyclegan, b2a: toon2photo, a2b: photo2toon,
         overrides: [method.weights.cycle=3]}
  CUT:
    runs:
      - {recipe: debug/cut, a2b: photo2toon}
  UNIT: {}
published:
  - source: nobody, Table 0
    metric: kid_target
    convention: x 100
    better: lower
    scale: 100
    verified: false
    values:
      UNIT: {photo2toon: [1.5, 0.25]}
      CycleGAN: {toon2photo: 8}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def problems(folder, old="", new=""):
    """What is said of the sweep with one change."""
    assert old in GOOD
    (folder / "x.yaml").write_text(GOOD.replace(old, new, 1) if old else new)
    with pytest.raises(SweepError) as caught:
        load_sweep("x.yaml")
    return caught.value.problems


def line(text):
    """Number of the line of `GOOD` that has the text."""
    return next(n for n, found in enumerate(GOOD.splitlines(), 1) if text in found)


def zoo(*words):
    return CliRunner().invoke(app, words)


def test_runs_are_recipes_with_overrides_and_seeds(folder):
    (folder / "x.yaml").write_text(GOOD)
    sweep = load_sweep("x.yaml")
    runs = sweep.runs()
    both = "photo2toon+toon2photo"
    assert [run.key for run in runs] == [
        ("CycleGAN", both, 0),
        ("CycleGAN", both, 7),
        ("CUT", "photo2toon", 0),
        ("CUT", "photo2toon", 7),
    ]
    assert runs[0].tasks == {"a2b": "photo2toon", "b2a": "toon2photo"}
    assert runs[1].overrides == ("method.weights.cycle=3", "train.seed=7")
    assert runs[1].recipe == load_recipe("debug/cyclegan", runs[1].overrides)
    assert runs[1].recipe.method.config.weights.cycle.a == 3
    (table,) = sweep.config.published
    assert table.values == {"UNIT": {"photo2toon": (1.5, 0.25)}, "CycleGAN": {"toon2photo": 8}}
    assert (table.scale, table.verified) == (100, False)


def test_the_null_comparison_makes_a_row_once_more_with_further_seeds(folder):
    extra = (
        "null: {row: CUT, seeds: [3, 4]}\nlevel: {metric: fid, task: toon2photo, value: 9}\nrows:"
    )
    (folder / "x.yaml").write_text(GOOD.replace("rows:", extra, 1))
    sweep = load_sweep("x.yaml")
    runs = sweep.runs()
    assert [(run.row, run.seed) for run in runs if run.null] == [("CUT", 3), ("CUT", 4)]
    assert runs[-1].recipe == load_recipe("debug/cut", ["train.seed=4"])
    assert sum(not run.null for run in runs) == 4
    level = sweep.config.level
    assert (level.metric, level.task, level.value) == ("fid", "toon2photo", 9)
    shown = zoo("show", "sweep", "x.yaml").stdout
    assert "null comparison: CUT, seeds 3, 4\nlevel: fid 9 on toon2photo\n" in shown


def test_debug_keeps_the_method_and_shrinks_the_rest(folder):
    (folder / "x.yaml").write_text(
        GOOD.replace("debug/cyclegan", "maps/simgan")
        .replace("b2a: toon2photo, ", "", 1)
        .replace("method.weights.cycle=3", "method.weights.self_regularisation=3")
        .replace("debug/cut", "maps/pix2pix")
    )
    simgan, _, pix2pix, _ = (run.recipe for run in load_sweep("x.yaml").runs(debug=True))
    assert simgan.method.config.weights.self_regularisation == 3
    for recipe in (simgan, pix2pix):
        assert recipe.data.name == "toonfaces"
        assert recipe.train.images < 100
        assert recipe.method.config.generator.config.width == 8
    assert (simgan.data.config.paired, pix2pix.data.config.paired) == (False, True)
    full = build_method(load_recipe("maps/simgan"), None)
    small = build_method(simgan, None)
    assert len(list(full.parameters())) == len(list(small.parameters()))  # as deep


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("seeds:", "seedz:", "seeds:",
         "seedz: SweepFile has no field 'seedz'. Did you mean 'seeds'?"),
        ("cut, a2b: photo2toon", "cut, a2b: foto2toon", "debug/cut",
         "rows.CUT.runs[0].a2b: there is no task 'foto2toon'. Did you mean 'photo2toon'? Tasks"),
        ("debug/cut", "debug/cutt", "debug/cut",
         "rows.CUT.runs[0].recipe: there is no recipe 'debug/cutt'. Did you mean 'debug/cut'? Rec"),
        ("weights.cycle", "weights.cycel", "debug/cyclegan",
         "rows.CycleGAN.runs[0].recipe: method.weights.cycel: CycleGAN.Config.Weights has no field "
         "'cycel'. Did you mean 'cycle'?"),
        ("cut, a2b: photo2toon", "cut, b2a: toon2photo", "debug/cut",
         "rows.CUT.runs[0].b2a: debug/cut translates a2b only"),
        ("cut, a2b: photo2toon", "cut", "debug/cut",
         "rows.CUT.runs[0]: fills no column; a2b or b2a says which task it does"),
        ("b2a: toon2photo", "b2a: photo2toon", "debug/cyclegan",
         "rows.CycleGAN.runs[0].b2a: 'photo2toon' is filled by runs[0] already"),
        ("UNIT: {photo2toon", "UNITE: {photo2toon", "UNIT: {photo2toon",
         "published[0].values.UNITE: there is no such row. Did you mean 'UNIT'?"),
        ("{toon2photo: 8}", "{toon2foto: 8}", "CycleGAN: {",
         "published[0].values.CycleGAN.toon2foto: there is no task 'toon2foto'. Did you mean 't"),
        ("toon2photo: 8", "toon2photo: [8, 1, 2]", "CycleGAN: {",
         "published[0].values.CycleGAN.toon2photo: expected a number or a list, got a list"),
        ("better: lower", "better: less", "better:",
         "published[0].better: 'less' is not a choice."),
        ("UNIT: {}", "UNIT: {}\n  MUNIT: {}", "MUNIT",
         "rows.MUNIT: has neither runs nor published numbers"),
        ("rows:", "null: {row: CUTE, seeds: [3]}\nrows:", "rows:",
         "null.row: there is no row 'CUTE' with runs. Did you mean 'CUT'?"),
        ("rows:", "null: {row: UNIT, seeds: [3]}\nrows:", "rows:",
         "null.row: there is no row 'UNIT' with runs."),
        ("rows:", "null: {row: CUT, seeds: [3, 7]}\nrows:", "rows:",
         "null.seeds: 7 is a seed already"),
        ("rows:", "null: {row: CUT, seeds: []}\nrows:", "rows:",
         "null.seeds: at least one is needed"),
        ("rows:", "level: {metric: fid, task: foto2toon, value: 1}\nrows:", "rows:",
         "level.task: there is no task 'foto2toon'. Did you mean 'photo2toon'?"),
        ("[0, 7]", "[7, 7]", "seeds:", "seeds: 7 is given twice"),
        ("[0, 7]", "[-1]", "seeds:", "seeds[0]: -1 is too small; at least 0"),
        ("[kid_target]", "[]", "metrics:", "metrics: at least one is needed"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_line_key_and_nearest_name(folder, old, new, at, says):
    found = problems(folder, old, new)
    number = line("UNIT: {}") + 1 if at == "MUNIT" else line(at)
    assert any(problem.startswith(f"x.yaml:{number}: {says}") for problem in found), found


def test_several_mistakes_are_told_at_once(folder):
    changed = GOOD.replace("debug/cut", "debug/cutt").replace("UNIT: {photo", "UNITE: {photo")
    found = problems(folder, new=changed)
    assert (
        len(found) == 3
    )  # the recipe, the row that is not there, and the one left without numbers


def test_what_is_no_sweep(folder):
    assert problems(folder, new="- 1") == ["x.yaml:1: expected a mapping of fields"]
    assert "SweepFile needs description, tasks, metrics, rows" in problems(folder, new="{}")[0]
    with pytest.raises(SweepError, match=r"no sweep 'ugatit_tabel'\. Did you mean 'ugatit_table'"):
        load_sweep("ugatit_tabel")


def test_the_example_of_the_reference_is_one(folder):
    page = (ROOT / "docs/reference/sweeps.md").read_text()
    (folder / "x.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    runs = load_sweep("x.yaml").runs()
    assert len(runs) == 12
    assert [run.seed for run in runs if run.null] == [3, 4, 5]


def test_own_sweeps_come_first_and_by_name(folder):
    (folder / "recipes/sweeps").mkdir(parents=True)
    (folder / "recipes/sweeps/ugatit_table.yaml").write_text(GOOD)
    assert load_sweep("ugatit_table").config.description == "two methods"
    assert list_sweeps().count("ugatit_table") == 1


def test_the_command_line_lists_and_shows_them(folder):
    listed = json.loads(zoo("list", "sweeps", "--json").stdout)
    assert [entry["name"] for entry in listed] == list_sweeps()
    assert all(entry["summary"] for entry in listed)

    (folder / "x.yaml").write_text(GOOD)
    text = zoo("show", "sweep", "x.yaml").stdout
    for part in (
        "x: two methods",
        "seeds: 0, 7; metrics: kid_target",
        "debug/cyclegan",
        "method.weights.cycle=3",
        "nobody, Table 0: kid_target, lower is better, not verified",
        "1.50 ± 0.25",
        "8.00",
    ):
        assert part in text
    (folder / "x.yaml").write_text(GOOD.replace("    verified: false\n", ""))
    assert "not verified" not in zoo("show", "sweep", "x.yaml").stdout
    assert json.loads(zoo("show", "sweeps", "x.yaml", "--json").stdout)["seeds"] == [0, 7]
    refused = zoo("show", "sweep", "toonface")
    assert refused.exit_code == 2
    assert "Did you mean 'toonfaces'?" in refused.stderr
