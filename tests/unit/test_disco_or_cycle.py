"""Every cell of {generators} x {losses of CycleGAN, of DiscoGAN} trains both players."""

import pytest
import torch

from zoo.protocols import Batch
from zoo.recipe import list_recipes, load_recipe
from zoo.runs import build_method
from zoo.update import Updater

FOLDER = "ablation/disco_or_cycle/"
CELLS = sorted(name for name in list_recipes() if name.startswith(FOLDER))
NARROW = ("method.generator.width=4", "method.discriminator.width=4")


@pytest.mark.parametrize("name", CELLS)
def test_cell_trains(name):
    turns = ("method.update_interval=0",) if name.endswith("discogan") else ()
    recipe = load_recipe(name, [*NARROW, *turns])
    torch.manual_seed(0)
    method = build_method(recipe, None)
    before = {key: p.detach().clone() for key, p in method.named_parameters()}
    updater = Updater(method, recipe.optim)
    a, b = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    data = Batch(a, b, 0, 0)
    updater.start(data)
    updater.step(data)
    (record,) = updater.records()
    assert not record.bad
    for key, parameter in method.named_parameters():
        if not key.endswith("bias"):
            assert not torch.equal(parameter, before[key]), key


def test_cells_of_a_row_differ_in_losses_only():
    rows = {name.rpartition("_")[0] for name in CELLS}
    assert rows == {FOLDER + generator for generator in ("resnet", "unet", "disco", "ugatit")}
    assert len(CELLS) == 2 * len(rows)
    for row in rows:
        cycle, disco = (load_recipe(f"{row}_{losses}", []) for losses in ("cyclegan", "discogan"))
        assert cycle.method.name == "cyclegan"
        assert disco.method.name == "discogan"
        assert cycle.method.config.generator == disco.method.config.generator
        assert cycle.data == disco.data
        assert (cycle.train, cycle.evaluate) == (disco.train, disco.evaluate)
