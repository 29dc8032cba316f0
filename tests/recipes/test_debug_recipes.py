"""Every debug recipe trains within seconds, resumes to the bit, translates and is scored."""

import time

import numpy as np
import pytest
import torch

from eval.runner import evaluate_run
from tests.training import assert_same_run, metrics, train_here
from zoo.recipe import list_recipes, load_recipe
from zoo.translation import load_run

NAMES = [name for name in list_recipes() if name.startswith("debug/")]


@pytest.fixture(scope="module", params=NAMES)
def trained(request, tmp_path_factory):
    """The recipe, its run, and the seconds of one processor that it took."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports a compiler, once a process
    recipe = load_recipe(request.param)
    begun = time.process_time()
    run = train_here(recipe, tmp_path_factory.mktemp("debug") / "run")
    return recipe, run, time.process_time() - begun


def test_it_trains_within_five_seconds(trained):
    recipe, run, seconds = trained
    assert seconds < 5
    lines = metrics(run)
    assert lines[-1]["images"] == recipe.train.images
    assert all(np.isfinite(value) for line in lines for value in line["terms"].values())
    assert list((run / "samples").glob("*.png"))


def test_it_resumes_to_the_same_weights(trained, tmp_path):
    recipe, whole, _ = trained
    half = recipe.train.images // 2 // recipe.train.batch * recipe.train.batch + recipe.train.batch
    run = train_here(load_recipe(whole / "recipe.yaml", [f"train.images={half}"]), tmp_path / "run")
    train_here(
        load_recipe(run / "recipe.yaml", [f"train.images={recipe.train.images}"]), run, resume=True
    )
    assert_same_run(run, whole)


def test_it_translates(trained):
    _, folder, _ = trained
    run = load_run(folder)
    for direction in run.directions:
        source = run.dataset().domain("test", direction[0])[0]
        result = run.translate(source, direction)
        assert result.shape == source.shape
        assert not np.array_equal(result, source)


def test_it_is_scored(trained):
    _, folder, _ = trained
    scores = evaluate_run(folder, extractor="offline", num_images=4)
    assert (folder / "scores.json").is_file()
    seen = {(record["metric"], record["direction"]) for record in scores["records"]}
    for direction in load_run(folder).directions:
        assert {("fid", direction), ("kid_target", direction), ("l1", direction)} <= seen
        assert len(list((folder / "translated" / direction).glob("*.png"))) == 4
