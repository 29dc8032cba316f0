"""Every shipped sweep resolves, and each of its methods makes a step on debug data."""

import json
from functools import cache

import pytest
import torch

from tests.training import ROOT
from zoo.protocols import Batch
from zoo.recipe import list_recipes, load_recipe, to_dict
from zoo.runs import build_method
from zoo.sweep import list_sweeps, load_sweep
from zoo.update import Updater

SWEEPS = list_sweeps()
LITERATURE = {
    "cyclegan_table1_maps",
    "table2_cityscapes",
    "table3_cityscapes",
    "cyclegan_ablation",
    "ugatit_table",
    "ugatit_ablation",
    "disco_or_cycle",
}


def different_methods():
    """A run for each method, optimizer and pairing, shrunk to debug data."""
    runs = {}
    for name in SWEEPS:
        for run in load_sweep(name).runs(debug=True):
            plain = to_dict(run.recipe)
            key = json.dumps([plain["method"], plain["optim"]["name"], plain["data"]["paired"]])
            runs.setdefault(key, pytest.param(run.recipe, id=f"{name}: {run.row}"))
    return list(runs.values())


def test_the_sweeps_of_the_literature_are_there():
    files = {path.stem for path in (ROOT / "recipes/sweeps").glob("*.yaml")}
    assert set(SWEEPS) == files >= LITERATURE


@pytest.mark.parametrize("name", SWEEPS)
def test_its_runs_resolve_to_the_recipes_with_their_seeds(name):
    sweep = load_sweep(name)
    runs = sweep.runs()
    assert len({run.key for run in runs}) == len(runs)
    assert {run.seed for run in runs if not run.null} == set(sweep.config.seeds)
    null = sweep.config.null
    assert {run.seed for run in runs if run.null} == set(null.seeds if null else [])
    for run in runs:
        assert load_recipe(run.recipe_name, run.overrides) == run.recipe
        assert run.recipe.train.seed == run.seed


@pytest.mark.parametrize("recipe", different_methods())
def test_its_methods_make_a_step_on_debug_data(recipe):
    torch.manual_seed(0)
    method = build_method(recipe, recipe.data.build())
    assert sum(p.numel() for p in method.parameters()) < 3e6
    updater = Updater(method, recipe.optim)
    count = recipe.train.batch * method.samples_per_step(recipe.method.config)
    batch = Batch(images("a")[:count], images("b")[:count], 0, 0)
    assert len(batch.a) == count
    updater.start(batch)
    updater.step(batch)
    (record,) = updater.records()
    assert record.terms
    assert not record.bad


@cache
def images(side):
    """The training images that all shrunk recipes have."""
    domain = load_sweep("toonfaces").runs(debug=True)[0].recipe.data.build().domain("train", side)
    return torch.stack([torch.tensor(image).permute(2, 0, 1) / 127.5 - 1 for image in domain])


def test_the_whole_comparison_on_drawn_faces_leaves_no_recipe_out():
    names = {run.recipe_name for run in load_sweep("toonfaces_all").runs()}
    assert names == {name for name in list_recipes() if name.startswith("toonfaces/")}


def test_what_is_copied_from_memory_says_so():
    doubted = {
        name
        for name in SWEEPS
        if any(not table.verified for table in load_sweep(name).config.published)
    }
    assert doubted == {"cyclegan_ablation"}
