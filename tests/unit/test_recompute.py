"""Activations computed again: less is kept, and nothing else changes, not even in the last bit."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.training import CASES, assert_same_run, recipe_of, train_here
from zoo.layers import recompute
from zoo.layers.adversarial import frozen
from zoo.layers.conv import SpectralLinear
from zoo.layers.recompute import recomputed, recomputing
from zoo.protocols import Batch
from zoo.runs import build_method
from zoo.update import Updater

SMALL = ("method.generator.width=4", "method.discriminator.width=4")
BATCH_NORM = ("method.generator.norm=batch", "method.discriminator.norm=batch")
PENALTY = ("method.adversarial={name: wgan_gp}",)  # differentiates twice
STEPS = {
    "cyclegan": ("cyclegan", PENALTY),
    "ugatit": ("ugatit", CASES["ugatit"]),
    "cut": ("cut", CASES["cut"]),
    "pix2pix": ("pix2pix", (*BATCH_NORM, "data.size=64")),  # with dropout
}


def after_steps(case, recompute):
    """Losses, weights and buffers, and the layers' forwards, of two steps in float64."""
    name, settings = STEPS[case]
    recipe = recipe_of(name, *SMALL, *settings)
    torch.manual_seed(0)
    method = build_method(recipe, None).double()
    updater = Updater(method, recipe.optim, recompute=recompute)
    forwards = []
    for layer in method.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(lambda layer, x: forwards.append(layer))
    size = recipe.data.config.size
    for step in range(2):
        rng = torch.Generator().manual_seed(step)
        a, b = torch.rand(2, 2, 3, size, size, generator=rng, dtype=torch.float64) * 2 - 1
        batch = Batch(a, b, step, 2 * step)
        updater.start(batch)
        updater.step(batch)
    terms = [record.terms for record in updater.records()]
    return terms, method.state_dict(), len(forwards)


def differing(one, other):
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("case", STEPS)
def test_a_step_computes_the_same(case):
    terms, state, forwards = after_steps(case, False)
    terms_again, state_again, forwards_again = after_steps(case, True)
    assert terms == terms_again
    assert differing(state, state_again) == []
    assert 1.3 * forwards < forwards_again <= 3 * forwards


@pytest.mark.parametrize(("case", "moved"), [("ugatit", ".u"), ("pix2pix", "running_mean")])
def test_without_care_for_buffers_it_would_not(case, moved, monkeypatch):
    _, state, _ = after_steps(case, True)
    remember = recompute._Circumstances.__init__

    def forget_buffers(self, part):
        remember(self, part)
        self.buffers = []

    monkeypatch.setattr(recompute._Circumstances, "__init__", forget_buffers)
    _, careless, _ = after_steps(case, True)
    assert any(name.endswith(moved) for name in differing(state, careless))


def test_a_run_that_resumes_is_the_same_too(tmp_path):
    recipe = recipe_of("ugatit", *SMALL, *CASES["ugatit"], "train.images=8")
    again = replace(recipe, train=replace(recipe.train, recompute=True, images=4))
    train_here(recipe, tmp_path / "plain")
    train_here(again, tmp_path / "run")
    again.train.images = 8
    train_here(again, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "plain")


def kept_bytes(function, x):
    """Of the tensors that the graph of `function(x)` holds, without parameters."""
    kept = []
    keep = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t)
    with keep:
        function(x)
    return sum(t.nbytes for t in kept if not isinstance(t, nn.Parameter))


@pytest.mark.parametrize("name", ["cyclegan", "ugatit"])
def test_networks_keep_the_inputs_of_their_parts_only(name):
    method = build_method(recipe_of(name), None)
    x = torch.zeros(1, 3, 32, 32)
    for network in (method.ab, method.discriminator_a):
        plain = kept_bytes(network, x)
        with recomputing():
            assert kept_bytes(network, x) < 0.3 * plain
        with torch.no_grad(), recomputing():
            assert kept_bytes(network, x) == 0


def test_a_frozen_part_is_frozen_again():
    part, x = nn.Sequential(SpectralLinear(3, 3), nn.Tanh()), torch.ones(2, 3, requires_grad=True)
    with recomputing():
        with frozen(part):
            y = recomputed(part, x).sum()
        y.backward()
    assert x.grad is not None
    assert all(p.grad is None and p.requires_grad for p in part.parameters())


def test_outside_a_part_is_just_called():
    calls, part = [], nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    part[0].register_forward_pre_hook(lambda *_: calls.append(1))
    recomputed(part, torch.ones(2, 3)).sum().backward()
    assert len(calls) == 1
    with recomputing():
        recomputed(part, torch.ones(2, 3)).sum().backward()
    assert len(calls) == 3
