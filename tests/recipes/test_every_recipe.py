"""Every recipe is valid, survives a round trip, and builds at three sizes."""

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file

from tests.training import ROOT
from zoo.optim import build_optimizers, learning_rate_factor
from zoo.recipe import dump_recipe, list_recipes, load_recipe
from zoo.registry import METHODS, UserError
from zoo.runs import build_method

RECIPES = list_recipes()


@pytest.fixture(params=RECIPES)
def name(request):
    return request.param


def test_there_are_recipes():
    found = {
        path.relative_to(ROOT / "recipes").with_suffix("").as_posix()
        for path in (ROOT / "recipes").rglob("*.yaml")
        if path.relative_to(ROOT / "recipes").parts[0]
        not in ("_base", "accelerate", "adaptation", "sweeps")
    }
    assert set(RECIPES) == found
    assert found >= {"demo", "selfie2anime/ugatit", "selfie2anime/cyclegan"}


def test_every_method_has_a_recipe_for_debugging():
    assert {f"debug/{method}" for method in METHODS.names()} <= set(RECIPES)


def test_it_says_what_it_is_for(name):
    assert load_recipe(name).description


def test_it_is_the_same_after_a_round_trip(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


TOO_LARGE = {"ablation/pix2pix_patch286": 96}  # recipes whose networks need that many pixels


@pytest.mark.parametrize("size", [64, 128, 256])
def test_it_builds(name, size):
    """Without memory for the weights, of which the full U-GAT-IT has 670 million at 256 pixels."""
    recipe = load_recipe(name, [f"data.size={size}", "data.load_size=auto"])
    if size < TOO_LARGE.get(name, 0):
        with pytest.raises(UserError, match=f"at least {TOO_LARGE[name]}"):
            build_method(recipe, None)
        return
    with torch.device("meta"):
        method = build_method(recipe, None)
    assert all(p.device.type == "meta" for p in method.parameters())
    if hasattr(method, "search_steps"):  # CoGAN's, each as long as a training step
        method.search_steps = 1
    for side, direction in zip("ab", method.directions, strict=False):
        channels = recipe.data.config.channels["ab".index(side)]
        out = method.translate(torch.empty(2, channels, size, size, device="meta"), direction)
        assert out.shape[2:] == (size, size)


def test_its_optimizers_and_rates_are_possible(name):
    recipe = load_recipe(name)
    net = torch.nn.Linear(1, 1)
    players = {"generators": [net], "discriminators": [net]}
    assert set(build_optimizers(recipe.optim, players)) == set(players)
    schedule, images = recipe.optim.schedule, recipe.train.images
    assert learning_rate_factor(schedule, 0) == 1
    assert learning_rate_factor(schedule, max(0, images - recipe.train.batch)) >= 0
    if schedule.name == "linear":  # the rate has come down when the run ends
        assert learning_rate_factor(schedule, images) <= 0.02


@pytest.mark.parametrize(
    "path", sorted((ROOT / "recipes/accelerate").glob("*.yaml")), ids=lambda path: path.stem
)
def test_launch_files_are_those_of_accelerate(path):
    config = load_config_from_file(str(path))
    assert config.num_processes >= 1
    assert config.mixed_precision in ("no", "bf16", "fp16")
