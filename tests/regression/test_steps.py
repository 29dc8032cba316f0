"""Three steps of every method, in float64, give the terms that they always gave.

After a change that is meant to change them: `python -m tests.regression.test_steps`, and a commit
that says why.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training import recipe_of
from zoo.protocols import Batch
from zoo.registry import METHODS
from zoo.runs import build_method
from zoo.schema import Schedule
from zoo.update import Updater, seed_everything

STORED = Path(__file__).parent / "steps.json"
COMMAND = "python -m tests.regression.test_steps"
STEPS = 3
SETTINGS = {
    "cyclegan": ("method.pool_size=2",),
    "ugatit": ("method.generator.light=false",),
    "pix2pix": ("method.generator.dropout=0",),
    "cut": ("method.num_patches=2000",),  # every patch, so that their order does not matter
    "simgan": ("method.generator_warmup_images=6", "method.discriminator_warmup_images=6"),
}


def pattern(like: Tensor, phase: float) -> Tensor:
    """Numbers in [-1, 1] that need no generator, hence are the same everywhere."""
    count = torch.arange(like.numel(), dtype=torch.float64)
    return torch.sin(0.7 * count + 1.3 * torch.sin(0.11 * count) + phase).reshape(like.shape)


def fill(method: torch.nn.Module) -> None:
    """Fixed weights of a size that keeps activations near 1; unit vectors for spectral norm."""
    with torch.no_grad():
        for i, (name, parameter) in enumerate(method.named_parameters()):
            if name.endswith("weight"):
                fan_in = parameter[0].numel()
                parameter.copy_(pattern(parameter, i) / math.sqrt(fan_in))
            elif name.endswith("bias"):
                parameter.copy_(0.1 * pattern(parameter, i))
        for i, buffer in enumerate(method.buffers()):
            if buffer.ndim == 1 and buffer.is_floating_point():
                vector = pattern(buffer, -i)
                buffer.copy_(vector / vector.norm())


def steps(name: str) -> dict[str, dict[str, float]]:
    """Raw terms by step, and what the weights of each network amount to after the last."""
    recipe = recipe_of(
        name, "method.generator.width=4", "method.discriminator.width=4", *SETTINGS.get(name, ())
    )
    recipe.optim.schedule = Schedule(name="linear", constant_images=2, decay_images=8)
    method = build_method(recipe, None).double()
    fill(method)
    updater = Updater(method, recipe.optim)
    found: dict[str, dict[str, float]] = {}
    for step in range(STEPS):
        terms = found[f"step {step}"] = {}

        def update(player, named, terms=terms):
            for key, term in named.items():
                parts = term if isinstance(term, Mapping) else {"": term}
                terms |= {f"{key}/{part}".rstrip("/"): v.item() for part, v in parts.items()}
            updater(player, named)

        n, size = 2 * method.samples_per_step(recipe.method.config), recipe.data.config.size
        shape = torch.empty(n, 3, size, size)
        batch = Batch(pattern(shape, step), pattern(shape, 10 + step), step, n * step)
        updater.start(batch)
        seed_everything(0, step, 0)
        method.step(batch, update)
        updater.finish(batch)
    found["after"] = {
        name: sum(p.square().sum().item() for p in network.parameters())
        for name, network in method.named_children()
        if any(True for _ in network.parameters())
    }
    return found


def test_every_method_is_stored():
    stored = json.loads(STORED.read_text())
    assert stored["command"] == COMMAND
    assert set(stored["methods"]) == set(METHODS.names())


@pytest.mark.parametrize("name", METHODS.names())
def test_the_terms_are_the_stored_ones(name):
    stored, found = json.loads(STORED.read_text())["methods"][name], steps(name)
    assert found.keys() == stored.keys()
    for part, values in stored.items():
        assert found[part] == pytest.approx(values, rel=1e-9), f"{name}, {part}"


if __name__ == "__main__":
    methods = {name: steps(name) for name in METHODS.names()}
    STORED.write_text(json.dumps({"command": COMMAND, "methods": methods}, indent=1) + "\n")
